"""Flax NNX: a small CNN with dropout on scikit-learn's handwritten digits."""

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from sklearn.datasets import load_digits

from padam_optax import padam

images, labels = load_digits(return_X_y=True)
images = jnp.asarray(images, jnp.float32).reshape(-1, 8, 8, 1) / 16
labels = jnp.asarray(labels)
train, test = slice(0, 1408), slice(1408, None)  # 22 batches of 64, and the rest


class Net(nnx.Module):
    def __init__(self, rngs):
        self.conv = nnx.Conv(1, 16, (3, 3), rngs=rngs)
        self.dropout = nnx.Dropout(0.2, rngs=rngs)
        self.dense = nnx.Linear(16 * 4 * 4, 10, rngs=rngs)

    def __call__(self, x):
        x = nnx.max_pool(nnx.relu(self.conv(x)), (2, 2), strides=(2, 2))
        return self.dense(self.dropout(x.reshape(len(x), -1)))


def loss(model, x, y):
    return optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()


@nnx.jit
def train_step(model, optimizer, x, y):
    value, gradients = nnx.value_and_grad(loss)(model, x, y)
    optimizer.update(model, gradients)
    return value


model = Net(nnx.Rngs(params=0, dropout=1))
schedule = optax.piecewise_constant_schedule(0.1, {132: 0.1})
optimizer = nnx.Optimizer(model, padam(schedule, p=1 / 8), wrt=nnx.Param)
for epoch in range(8):
    model.train()
    order = jax.random.permutation(jax.random.key(epoch), 1408).reshape(22, 64)
    for batch in order:
        value = train_step(model, optimizer, images[train][batch], labels[train][batch])
    model.eval()
    accuracy = float((model(images[test]).argmax(-1) == labels[test]).mean())
    print(f"epoch {epoch + 1}  loss {value:.3f}  test accuracy {accuracy:.1%}")
