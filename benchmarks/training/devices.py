"""One program on every device of every process, by jit on a mesh or by pmap.

The same code runs in both. It takes the `local` part of a batch and reduces with `mean`
and `total`. Under jit arrays are global, the compiler splits the work along the batch,
and `mean` does nothing; under pmap each device sees only its part.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from benchmarks.errors import UsageError

AXIS = "data"


@dataclass(frozen=True)
class DeviceLayout:
    """Where a program runs, and its collective operations.

    Attributes:
      strategy: "jit" on a mesh of all devices, or "pmap".
      shard_optimizer: Whether each device stores only a part of the optimizer's state
        (ZeRO, stage 1: Rajbhandari et al., SC 2020). Under jit only.
      count: How many devices to use, the first ones; None for all.
    """

    strategy: Literal["jit", "pmap"] = "jit"
    shard_optimizer: bool = False
    count: int | None = None

    @property
    def axis_name(self) -> str | None:
        """The axis name of collective operations; None under jit."""
        return AXIS if self.strategy == "pmap" else None

    @property
    def devices(self) -> int:
        """Number of devices, over all processes."""
        return self.count or jax.device_count()

    @property
    def is_primary(self) -> bool:
        """Whether this process writes the files of the run."""
        return jax.process_index() == 0

    @property
    def process_shard(self) -> tuple[int, int]:
        """Index of this process, and the number of processes."""
        return jax.process_index(), jax.process_count()

    @cached_property
    def mesh(self) -> Mesh:
        """All devices under jit; under pmap those of this process."""
        devices = jax.devices() if self.strategy == "jit" else jax.local_devices()
        return Mesh(
            np.array(devices[: self.count]), (AXIS,), axis_types=(AxisType.Auto,)
        )

    @property
    def replicated(self) -> NamedSharding:
        """The sharding of an array that is replicated on all devices."""
        return NamedSharding(self.mesh, PartitionSpec())

    def replicate(self, tree: Any) -> Any:
        """Copy arrays, the same in every process, to every device."""

        def copy(x):
            # A copy: an array that is already in place would be lost by donation.
            x = np.array(x)
            return jax.make_array_from_callback(x.shape, self.replicated, x.__getitem__)

        return _on_arrays(copy, tree)

    def shard_batch(self, tree: Any) -> Any:
        """Split this process's part of a batch among its devices."""
        if self.strategy == "pmap":
            devices = len(self.mesh.local_devices)
            return jax.tree.map(
                lambda x: x.reshape(devices, len(x) // devices, *x.shape[1:]), tree
            )
        sharding = NamedSharding(self.mesh, PartitionSpec(AXIS))
        return jax.tree.map(
            lambda x: jax.make_array_from_process_local_data(sharding, x), tree
        )

    def state_sharding(self, leaf: Any) -> NamedSharding:
        """Return the sharding of a leaf of the optimizer's state, given its shape.

        The longest axis that the number of devices divides is sharded; a leaf without
        one is replicated.
        """
        if not self.shard_optimizer or not hasattr(leaf, "shape"):
            return self.replicated
        lengths = [length if length % self.devices == 0 else 0 for length in leaf.shape]
        if not lengths or max(lengths) == 0:
            return self.replicated
        axes: list[str | None] = [None] * len(lengths)
        axes[int(np.argmax(lengths))] = AXIS
        return NamedSharding(self.mesh, PartitionSpec(*axes))

    def scatter(self, tree: Any) -> Any:
        """Shard trees like the optimizer's state, if `shard_optimizer` is set.

        Used inside a compiled function; the identity otherwise.
        """
        if not self.shard_optimizer:
            return tree
        shardings = jax.tree.map(self.state_sharding, tree)
        return lax.with_sharding_constraint(tree, shardings)

    def gather(self, tree: Any) -> Any:
        """Undo `scatter`: replicate a tree on every device."""
        if not self.shard_optimizer:
            return tree
        return lax.with_sharding_constraint(tree, self.replicated)

    def init_opt_state(self, init: Callable[[Any], Any], params: Any) -> Any:
        """Initialize an optimizer's state, sharded, for parameters on the devices."""
        if self.strategy == "pmap":
            return self.replicate(init(params))
        shardings = jax.tree.map(self.state_sharding, jax.eval_shape(init, params))
        return jax.jit(init, out_shardings=shardings)(params)

    def compile(
        self,
        function: Callable[..., Any],
        *arguments: Any,
        donate: bool = False,
        batch: int | None = None,
    ) -> Callable[..., Any]:
        """Compile a function for these arguments, ahead of time.

        Args:
          function: Called with the arguments; under pmap on each device, where its
            results must be the same on all. With `donate` it returns a pair whose first
            element is like the first argument.
          *arguments: Arrays on the devices, or trees of them, as in every later call.
          donate: Whether to donate the first argument's buffers to the results.
          batch: The index of the argument that comes from `shard_batch`, if any.

        Returns:
          The compiled function. Under jit it rejects arguments of other shapes or
          dtypes instead of recompiling; under pmap it compiles at the first call.
        """
        donated = (0,) if donate else ()
        if self.strategy == "jit":
            out: Any = self.replicated
            if donate:
                kept = jax.tree.map(lambda x: x.sharding, arguments[0])
                out = (kept, self.replicated)
            jitted = jax.jit(function, donate_argnums=donated, out_shardings=out)
            return jitted.lower(*arguments).compile()
        # pmap needs an argument with a mapped axis.
        numbers = jnp.arange(len(self.mesh.local_devices))
        axes: list[int | None] = [None] * len(arguments)
        if batch is not None:
            axes[batch] = 0
        mapped = jax.pmap(
            lambda *arguments: function(*arguments[:-1]),
            axis_name=AXIS,
            in_axes=(*axes, 0),
            out_axes=None,
            donate_argnums=donated,
            devices=None if self.count is None else self.mesh.local_devices,
        )
        # Not compiled ahead: such a program counts the devices of all processes.
        return lambda *arguments: mapped(*arguments, numbers)

    def local_shard(self, tree: Any) -> Any:
        """Take this device's part of arrays whose leading axis is the batch."""
        if self.strategy == "jit":
            sharding = NamedSharding(self.mesh, PartitionSpec(AXIS))
            return lax.with_sharding_constraint(tree, sharding)

        def share(x):
            size = x.shape[0] // self.devices
            return lax.dynamic_slice_in_dim(x, lax.axis_index(AXIS) * size, size)

        return jax.tree.map(share, tree)

    def mean(self, tree: Any) -> Any:
        """Average over devices."""
        return lax.pmean(tree, AXIS) if self.strategy == "pmap" else tree

    def sum(self, tree: Any) -> Any:
        """Add over devices."""
        return lax.psum(tree, AXIS) if self.strategy == "pmap" else tree

    def pmean_grad(self, tree: Any) -> Any:
        """Return the parameters unchanged, their gradient averaged over devices.

        Used inside the objective, so that every derivative of it, as in a line search,
        is the same on all devices.
        """
        return _share(tree) if self.strategy == "pmap" else tree

    def broadcast(self, value: Any) -> Any:
        """Return the first process' value, a number or an array, in every process."""
        if jax.process_count() == 1:
            return value
        return multihost_utils.broadcast_one_to_all(np.asarray(value))

    def run_on_primary(self, work: Callable[[], str]) -> str:
        """Do something in the first process only, and broadcast the text it returns.

        If the work raises, the first process raises its exception, and the others a
        UsageError with its message.
        """
        text, error = "", None
        if self.is_primary:
            try:
                text = work()
            except Exception as raised:  # the others wait, whatever it is
                text, error = str(raised), raised
        failed = error is not None
        if jax.process_count() > 1:
            bytes_ = np.frombuffer(text.encode().ljust(4096)[:4096], np.uint8)
            bytes_, failed = self.broadcast(bytes_), bool(self.broadcast(failed))
            text = bytes(bytes_).decode(errors="ignore").rstrip()
        if error is not None:
            raise error
        if failed:
            raise UsageError(text)
        return text

    def describe(self) -> Mapping[str, Any]:
        """Describe the devices, for the records."""
        device = jax.local_devices()[0]
        return {
            "platform": device.platform,
            "kind": device.device_kind,
            "count": self.devices,
            "processes": jax.process_count(),
        }


def _on_arrays(function: Callable[[Any], Any], tree: Any) -> Any:
    """Apply a function of arrays to the leaves; of typed random keys, to their bits."""

    def on_leaf(x):
        if isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            bits = function(jax.random.key_data(x))
            return jax.random.wrap_key_data(bits, impl=jax.random.key_impl(x))
        return function(x)

    return jax.tree.map(on_leaf, tree)


@jax.custom_vjp
def _share(tree):
    return tree


_share.defvjp(
    lambda tree: (tree, None), lambda _, gradient: (lax.pmean(gradient, AXIS),)
)
