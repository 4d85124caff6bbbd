"""State divided among all devices, saved with Orbax: run it again, and it goes on.

python examples/sharded_resume.py DIR [STEPS]
"""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import optax
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
from orbax.checkpoint import v1 as ocp

from padam_optax import padam

folder = Path(sys.argv[1] if len(sys.argv) > 1 else sys.exit(__doc__)).resolve()
steps = int(sys.argv[2]) if len(sys.argv) > 2 else 100
auto = jax.sharding.AxisType.Auto
mesh = jax.make_mesh((jax.device_count(),), ("data",), axis_types=(auto,))
replicated, divided = NamedSharding(mesh, P()), NamedSharding(mesh, P("data"))


def place(x):
    """Divide the first axis where the devices divide it evenly."""
    return divided if x.ndim and x.shape[0] % mesh.size == 0 else replicated


optimizer = padam(optax.cosine_decay_schedule(0.1, 200), p=1 / 8)
params = jax.device_put({"w": jnp.zeros((64, 8)), "b": jnp.zeros(8)}, replicated)
placement = jax.tree.map(place, jax.eval_shape(optimizer.init, params))
state = jax.jit(optimizer.init, out_shardings=placement)(params)


@jax.jit(out_shardings=(replicated, placement, None), donate_argnums=(0, 1))
def train_step(params, state, step):
    key = jax.random.fold_in(jax.random.key(0), step)  # depends on the step alone
    x = jax.random.normal(key, (256, 64))
    x = jax.lax.with_sharding_constraint(x, divided)

    def loss(params):
        error = x @ params["w"] + params["b"] - x[:, :8]
        return (error**2).mean()

    value, gradients = jax.value_and_grad(loss)(params)
    updates, state = optimizer.update(gradients, state, params)
    return optax.apply_updates(params, updates), state, value


with ocp.training.Checkpointer(folder) as checkpointer:
    start = 0
    if checkpointer.latest is not None:
        start = checkpointer.latest.step
        params, state = checkpointer.load(start, (params, state))
    for step in range(start, steps):
        params, state, value = train_step(params, state, step)
    checkpointer.save(steps, (params, state))
print(f"steps {start} to {steps} on {mesh.size} devices, loss {value:.6f}")
