"""Quantized optimizer states and packing of small leaves; this API may change."""

from padam_optax.experimental._packing import PackedLeaves, pack_small_leaves
from padam_optax.experimental._quantization import (
    QuantizedState,
    dequantize_state,
    quantize_state,
)

__all__ = [
    "PackedLeaves",
    "QuantizedState",
    "dequantize_state",
    "pack_small_leaves",
    "quantize_state",
]
