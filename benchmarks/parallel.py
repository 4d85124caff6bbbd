"""One program on one device under jit, or on all local devices under pmap.

The same code runs in both. It sees the whole batch, takes the `local` share of it, and
averages over devices with `mean` and `total`; on one device these do nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec


@dataclass(frozen=True)
class Parallel:
    """Where a program runs, and how its parts on different devices talk.

    Attributes:
      devices: Number of devices.
      axis_name: The name that collective operations use, None on one device.
    """

    devices: int
    axis_name: str | None

    def place(self, tree: Any) -> Any:
        """Copy arrays to every device."""
        if self.axis_name is None:
            return jax.tree.map(lambda x: jnp.array(x, copy=True), tree)
        mesh = Mesh(np.array(jax.local_devices()), (self.axis_name,))
        everywhere = NamedSharding(mesh, PartitionSpec())
        # A copy first: what device_put leaves in place would be lost by donation.
        return jax.tree.map(
            lambda x: jax.device_put(jnp.array(x, copy=True), everywhere), tree
        )

    def compile(
        self, function: Callable[..., Any], *arguments: Any, donate: bool = False
    ) -> Callable[..., Any]:
        """Compile a function for these arguments, once and for all.

        Args:
          function: Called with the arguments on each device; its results must be the
            same on all.
          *arguments: Placed arrays, or trees of them, as every call will have them.
          donate: Whether the first argument's buffers are given up for the results.

        Returns:
          The compiled function. It refuses arguments of other shapes or dtypes, so it
          cannot compile anew.
        """
        donated = (0,) if donate else ()
        if self.axis_name is None:
            return jax.jit(function, donate_argnums=donated).lower(*arguments).compile()
        numbers = jnp.arange(self.devices)  # pmap wants something that it may split
        mapped = jax.pmap(
            lambda *arguments: function(*arguments[:-1]),
            axis_name=self.axis_name,
            in_axes=(*[None] * len(arguments), 0),
            out_axes=None,
            donate_argnums=donated,
        )
        compiled = mapped.lower(*arguments, numbers).compile()
        return lambda *arguments: compiled(*arguments, numbers)

    def local(self, tree: Any) -> Any:
        """Take this device's share of arrays whose leading axis is the batch."""
        if self.axis_name is None:
            return tree

        def share(x):
            size = x.shape[0] // self.devices
            return lax.dynamic_slice_in_dim(
                x, lax.axis_index(self.axis_name) * size, size
            )

        return jax.tree.map(share, tree)

    def mean(self, tree: Any) -> Any:
        """Average over devices."""
        return tree if self.axis_name is None else lax.pmean(tree, self.axis_name)

    def total(self, tree: Any) -> Any:
        """Add over devices."""
        return tree if self.axis_name is None else lax.psum(tree, self.axis_name)

    def share_gradient(self, tree: Any) -> Any:
        """Return the parameters unchanged, their gradient averaged over devices.

        Used inside the objective, so that whoever differentiates it, a line search
        included, sees the same gradient on every device.
        """
        return tree if self.axis_name is None else _share(self.axis_name, tree)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _share(axis_name, tree):
    return tree


_share.defvjp(
    lambda axis_name, tree: (tree, None),
    lambda axis_name, _, gradient: (lax.pmean(gradient, axis_name),),
)


def parallel(mode: str) -> Parallel:
    """Make the mode named on the command line: "jit" or "pmap"."""
    if mode == "jit":
        return Parallel(devices=1, axis_name=None)
    return Parallel(devices=jax.local_device_count(), axis_name="devices")
