"""Equinox: a small CNN on scikit-learn's handwritten digits."""

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from sklearn.datasets import load_digits

from padam_optax import padam

images, labels = load_digits(return_X_y=True)
images = jnp.asarray(images, jnp.float32).reshape(-1, 1, 8, 8) / 16
labels = jnp.asarray(labels)
train, test = slice(0, 1408), slice(1408, None)  # 22 batches of 64, and the rest


class Net(eqx.Module):
    conv: eqx.nn.Conv2d
    pool: eqx.nn.MaxPool2d
    dense: eqx.nn.Linear

    def __init__(self, key):
        keys = jax.random.split(key)
        self.conv = eqx.nn.Conv2d(1, 16, 3, padding=1, key=keys[0])
        self.pool = eqx.nn.MaxPool2d(2, 2)
        self.dense = eqx.nn.Linear(16 * 4 * 4, 10, key=keys[1])

    def __call__(self, x):
        return self.dense(self.pool(jax.nn.relu(self.conv(x))).ravel())


def loss(model, x, y):
    logits = jax.vmap(model)(x)
    return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()


@eqx.filter_jit
def train_step(model, state, x, y):
    value, gradients = eqx.filter_value_and_grad(loss)(model, x, y)
    params = eqx.filter(model, eqx.is_inexact_array)
    updates, state = optimizer.update(gradients, state, params)
    return eqx.apply_updates(model, updates), state, value


model = Net(jax.random.key(0))
optimizer = padam(optax.piecewise_constant_schedule(0.1, {132: 0.1}), p=1 / 8)
state = optimizer.init(eqx.filter(model, eqx.is_inexact_array))
for epoch in range(8):
    order = jax.random.permutation(jax.random.key(epoch), 1408).reshape(22, 64)
    for batch in order:
        x, y = images[train][batch], labels[train][batch]
        model, state, value = train_step(model, state, x, y)
    logits = jax.vmap(model)(images[test])
    accuracy = float((logits.argmax(-1) == labels[test]).mean())
    print(f"epoch {epoch + 1}  loss {value:.3f}  test accuracy {accuracy:.1%}")
