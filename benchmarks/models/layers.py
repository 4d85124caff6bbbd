"""Layers shared by all networks."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jax.nn import initializers

from benchmarks.models.convolution import conv_general_dilated
from benchmarks.models.initializers import lookup


class Layers:
    """Make layers that share initializers, dtype, mapped axis and random keys.

    Parameters and BatchNorm statistics are float32, whatever the dtype.

    Args:
      conv: Name of the initializer of convolutions, as published with the network.
      dense: Name of the initializer of dense layers.
      initializer: A name to use instead of both, if any.
      dtype: The dtype of the computation, except in the last layer.
      axis_name: The mapped axis over which BatchNorm averages its statistics, if any.
      rngs: Random keys for the initial weights.
    """

    def __init__(
        self,
        conv: str,
        dense: str,
        *,
        initializer: str | None,
        dtype: jax.typing.DTypeLike,
        axis_name: str | None,
        rngs: nnx.Rngs,
    ):
        self._conv = lookup(initializer or conv)
        self._dense = lookup(initializer or dense)
        self.dtype = dtype
        self._axis_name = axis_name
        self.rngs = rngs

    def conv(
        self,
        inputs: int,
        outputs: int,
        side: int,
        *,
        stride: int = 1,
        padding: int | None = None,
        bias: bool = True,
    ) -> nnx.Conv:
        """Make a square convolution, padded on each side by half its size.

        "SAME" pads differently at stride 2: only below and on the right.
        """
        padding = side // 2 if padding is None else padding
        return nnx.Conv(
            inputs,
            outputs,
            (side, side),
            stride,
            padding=((padding, padding), (padding, padding)),
            use_bias=bias,
            kernel_init=self._conv.kernel,
            bias_init=self._conv.bias(side * side * inputs),
            dtype=self.dtype,
            conv_general_dilated=conv_general_dilated,
            rngs=self.rngs,
        )

    def norm(self, features: int) -> nnx.BatchNorm:
        """Make a BatchNorm; its output is float32.

        The running variance averages the batch's; PyTorch multiplies that by n/(n-1).
        """
        return nnx.BatchNorm(
            features,
            momentum=0.9,
            dtype=jnp.float32,
            axis_name=self._axis_name,
            rngs=self.rngs,
        )

    def dropout(self, rate: float) -> "Dropout":
        """Make a dropout layer, after all layers that have weights.

        Its seed comes from the same keys as theirs: drawn last, it does not change
        them.
        """
        return Dropout(rate, self._axis_name, self.rngs)

    def dense(
        self, inputs: int, outputs: int, *, bias: bool = True, blocks: int = 1
    ) -> nnx.Linear:
        """Make a dense layer; each block of outputs is initialized separately."""
        return self._linear(inputs, outputs, self.dtype, bias, blocks)

    def head(self, inputs: int, outputs: int) -> nnx.Linear:
        """Make the last layer, which computes its logits in float32."""
        return self._linear(inputs, outputs, jnp.float32)

    def _linear(self, inputs, outputs, dtype, bias=True, blocks=1):
        return nnx.Linear(
            inputs,
            outputs,
            use_bias=bias,
            kernel_init=in_blocks(self._dense.kernel, blocks),
            bias_init=self._dense.bias(inputs),
            dtype=dtype,
            rngs=self.rngs,
        )


def in_blocks(init: initializers.Initializer, blocks: int) -> Callable[..., jax.Array]:
    """Initialize that many kernels separately and join them along the outputs."""
    if blocks == 1:
        return init

    def joined(key, shape, dtype=jnp.float32):
        part = (*shape[:-1], shape[-1] // blocks)
        keys = jax.random.split(key, blocks)
        return jnp.concatenate([init(key, part, dtype) for key in keys], axis=-1)

    return joined


class DropoutState(nnx.Variable):
    """The state that determines which features dropout sets to zero."""


class Dropout(nnx.Module):
    """Set features to zero at random in training, and scale up the others.

    The draws depend on the layer's seed and on the number of previous calls. Both are
    part of the network's state, so a resumed run continues with the same draws. They
    are made for the whole batch: an example's draws do not depend on its device.

    Args:
      rate: The probability of a zero, in [0, 1).
      axis_name: The mapped axis that splits the batch, if any.
      rngs: Random keys for the seed.
    """

    def __init__(self, rate: float, axis_name: str | None, rngs: nnx.Rngs):
        self.rate = rate
        self.deterministic = False  # nnx's name: train() and eval() set it
        self._axis_name = axis_name
        self.seed = DropoutState(jax.random.bits(rngs.params()))
        self.calls = DropoutState(jnp.uint32(0))

    def __call__(self, x: jax.Array) -> jax.Array:
        """Map (n, ...) to the same shape; the identity in evaluation."""
        if self.deterministic or not self.rate:
            return x
        key = jax.random.fold_in(jax.random.key(self.seed[...]), self.calls[...])
        self.calls[...] += jnp.uint32(1)
        if self._axis_name is None:
            keep = jax.random.bernoulli(key, 1 - self.rate, x.shape)
        else:
            devices = lax.axis_size(self._axis_name)
            keep = jax.random.bernoulli(
                key, 1 - self.rate, (devices * len(x), *x.shape[1:])
            )
            begin = lax.axis_index(self._axis_name) * len(x)
            keep = lax.dynamic_slice_in_dim(keep, begin, len(x))
        return jnp.where(keep, x / (1 - self.rate), 0).astype(x.dtype)


class ConvNorm(nnx.Module):
    """Convolution and BatchNorm, which subtracts a bias again."""

    def __init__(
        self,
        layers: Layers,
        inputs: int,
        outputs: int,
        side: int,
        *,
        stride: int = 1,
        bias: bool = False,
    ):
        self.conv = layers.conv(inputs, outputs, side, stride=stride, bias=bias)
        self.norm = layers.norm(outputs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Map (n, height, width, inputs) to (n, height/stride, width/stride, outputs).

        A side that the stride does not divide is rounded up.
        """
        x = self.conv(x)
        return self.norm(x).astype(x.dtype)


def max_pool(x: jax.Array) -> jax.Array:
    """Apply 2x2 max-pooling; an odd last row or column is dropped.

    This is a maximum over two axes of a reshaped array: its gradient is a comparison,
    which XLA fuses, while that of a window reduction is a scatter. It shortens an epoch
    on a CPU by a quarter.
    """
    n, height, width, channels = x.shape
    x = x[:, : height // 2 * 2, : width // 2 * 2]
    windows = x.reshape(n, height // 2, 2, width // 2, 2, channels)
    return windows.max(axis=(2, 4))


def global_mean(x: jax.Array) -> jax.Array:
    """Average images (n, height, width, channels) to (n, channels), in float32."""
    return x.mean(axis=(1, 2), dtype=jnp.float32)
