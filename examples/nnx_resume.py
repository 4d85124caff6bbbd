"""Flax NNX on all devices, with Orbax: run it again with more epochs, and it goes on.

python examples/nnx_resume.py DIR EPOCHS
"""

import sys
from pathlib import Path

import jax
import optax
from flax import nnx
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from orbax.checkpoint import v1 as ocp
from sklearn.datasets import load_digits

from padam_optax import padam

folder, epochs = sys.argv[1:] if len(sys.argv) == 3 else sys.exit(__doc__)
mesh = jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))
replicated, split = NamedSharding(mesh, P()), NamedSharding(mesh, P("data"))
images, labels = map(jax.numpy.asarray, load_digits(return_X_y=True))


class Net(nnx.Module):
    def __init__(self, rngs):
        self.hidden = nnx.Linear(64, 64, rngs=rngs)
        self.dropout = nnx.Dropout(0.2, rngs=rngs)
        self.out = nnx.Linear(64, 10, rngs=rngs)

    def __call__(self, x):
        return self.out(self.dropout(nnx.relu(self.hidden(x / 16))))


def loss(model, x, y):
    return optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()


@nnx.jit
def train_step(model, optimizer, x, y):
    value, gradients = nnx.value_and_grad(loss)(model, x, y)
    optimizer.update(model, gradients)
    return value


model = Net(nnx.Rngs(params=0, dropout=1))
both = model, nnx.Optimizer(model, padam(0.1, p=1 / 8), wrt=nnx.Param)
nnx.update(both, jax.device_put(nnx.state(both), replicated))
with ocp.training.Checkpointer(Path(folder).resolve()) as checkpointer:
    first = checkpointer.latest.step if checkpointer.latest else 0
    if first:
        nnx.update(both, checkpointer.load(first, nnx.state(both)))
    for epoch in range(first, int(epochs)):
        order = jax.random.permutation(jax.random.key(epoch), 1408).reshape(22, 64)
        for batch in order:
            data = jax.device_put((images[batch], labels[batch]), split)
            value = train_step(*both, *data)
        print(f"epoch {epoch + 1}  loss {value:.6f}  {mesh.size} devices")
        checkpointer.save(epoch + 1, nnx.state(both))
