"""Quantized optimizer states and packing of small leaves; this API may change."""

from padam_optax.experimental._packing import (
    PackedLeaves as PackedLeaves,
    pack_small_leaves as pack_small_leaves,
)
from padam_optax.experimental._quantization import (
    QuantizedState as QuantizedState,
    dequantize_state as dequantize_state,
    quantize_state as quantize_state,
)
