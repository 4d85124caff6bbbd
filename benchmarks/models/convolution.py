"""A convolution whose gradients are fast inside loops on a CPU."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

_LAYOUT = ("NHWC", "HWIO", "NHWC")


def conv_general_dilated(
    lhs: jax.Array,
    rhs: jax.Array,
    window_strides: tuple[int, int],
    padding: Any,
    **options: Any,
) -> jax.Array:
    """Convolve images (NHWC) with a kernel (HWIO), as nnx.Conv asks for it.

    XLA's CPU compiler transposes convolutions to the layout of its fast routine, but
    only outside loops. Inside `jax.lax.scan`, any other layout falls back to a naive
    routine, some fifty times slower. Forward convolutions have the fast layout; the
    gradients that JAX derives do not. So on a CPU both gradients are computed here as
    forward convolutions of transposed arrays. Other platforms use JAX's gradients.

    Args:
      lhs: Images, (n, height, width, inputs).
      rhs: Kernel, (height, width, inputs, outputs).
      window_strides: Steps of the window.
      padding: "SAME", "VALID", or (before, after) for both axes.
      **options: Other arguments of nnx.Conv; only its defaults are supported.

    Returns:
      Images, (n, height, width, outputs).

    Raises:
      ValueError: If dilation or feature groups are asked for.
    """
    if (
        set(options.get("lhs_dilation") or ()) - {1}
        or set(options.get("rhs_dilation") or ()) - {1}
        or options.get("feature_group_count", 1) != 1
    ):
        raise ValueError("dilation and feature groups are not implemented here.")
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(
            lhs.shape[1:3], rhs.shape[:2], window_strides, padding
        )
    padding = tuple((int(before), int(after)) for before, after in padding)
    return _conv(lhs, rhs, tuple(window_strides), padding)


def _plain(x, kernel, strides, padding):
    return lax.conv_general_dilated(
        x, kernel, strides, padding, dimension_numbers=_LAYOUT
    )


def _on_cpu(x, kernel, strides, padding, x_dilation=(1, 1)):
    if any(s < k for s, k in zip(x.shape[1:3], kernel.shape[:2], strict=True)):
        # XLA would mistake a small image for the kernel and leave the fast routine, so
        # pad the image where XLA cannot see that it is padding.
        gaps = zip(padding, x_dilation, strict=True)
        sides = [(before, after, dilation - 1) for (before, after), dilation in gaps]
        zero = jnp.zeros((), x.dtype)
        x = lax.pad(x, zero, [(0, 0, 0), *sides, (0, 0, 0)])
        x = lax.optimization_barrier(x)
        padding, x_dilation = ((0, 0), (0, 0)), (1, 1)
    return lax.conv_general_dilated(
        x, kernel, strides, padding, x_dilation, dimension_numbers=_LAYOUT
    )


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _conv(x, kernel, strides, padding):
    settings = {"strides": strides, "padding": padding}
    return lax.platform_dependent(
        x, kernel, cpu=partial(_on_cpu, **settings), default=partial(_plain, **settings)
    )


def _conv_forward(x, kernel, strides, padding):
    return _conv(x, kernel, strides, padding), (x, kernel)


def _conv_backward(strides, padding, residuals, g):
    def plain(x, kernel):
        return _plain(x, kernel, strides, padding)

    def derived(x, kernel, g):
        _, gradients = jax.vjp(plain, x, kernel)
        return gradients(g)

    return lax.platform_dependent(
        *residuals, g, cpu=partial(_gradients_on_cpu, strides, padding), default=derived
    )


def _gradients_on_cpu(strides, padding, x, kernel, g):
    sides = list(
        zip(x.shape[1:3], kernel.shape[:2], g.shape[1:3], strides, padding, strict=True)
    )
    # The image's gradient: slide the mirrored kernel over g spread out by the strides.
    x_padding = [
        (k - 1 - before, side + before - 1 - (out - 1) * stride)
        for side, k, out, stride, (before, _) in sides
    ]
    mirrored = jnp.flip(kernel, (0, 1)).swapaxes(2, 3)
    dx = _on_cpu(g, mirrored, (1, 1), x_padding, x_dilation=strides)
    # The kernel's gradient: slide g, spread out, over the image; the batch is summed
    # over and so takes the place of the channels.
    kernel_padding = [
        (before, k + (out - 1) * stride - side - before)
        for side, k, out, stride, (before, _) in sides
    ]
    dkernel = lax.conv_general_dilated(
        x.transpose(3, 1, 2, 0),
        g.transpose(1, 2, 0, 3),
        (1, 1),
        kernel_padding,
        rhs_dilation=strides,
        dimension_numbers=_LAYOUT,
    )
    return dx, dkernel.transpose(1, 2, 0, 3)


_conv.defvjp(_conv_forward, _conv_backward)
