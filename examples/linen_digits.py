"""Flax Linen: TrainState with batch statistics on scikit-learn's handwritten digits."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax.training import train_state
from sklearn.datasets import load_digits

from padam_optax import padam

images, labels = load_digits(return_X_y=True)
images = jnp.asarray(images, jnp.float32).reshape(-1, 8, 8, 1) / 16
labels = jnp.asarray(labels)
train, test = slice(0, 1408), slice(1408, None)  # 22 batches of 64, and the rest


class Net(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        x = nn.BatchNorm(use_running_average=not train)(nn.Conv(16, (3, 3))(x))
        x = nn.max_pool(nn.relu(x), (2, 2), strides=(2, 2))
        return nn.Dense(10)(x.reshape(len(x), -1))


class TrainState(train_state.TrainState):
    batch_stats: Any


@jax.jit
def train_step(state, x, y):
    def loss(params):
        variables = {"params": params, "batch_stats": state.batch_stats}
        logits, new = state.apply_fn(variables, x, train=True, mutable=["batch_stats"])
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, y)
        return losses.mean(), new["batch_stats"]

    (value, stats), grads = jax.value_and_grad(loss, has_aux=True)(state.params)
    return state.apply_gradients(grads=grads, batch_stats=stats), value


net = Net()
variables = net.init(jax.random.key(0), images[:1], train=False)
schedule = optax.piecewise_constant_schedule(0.1, {132: 0.1})
state = TrainState.create(apply_fn=net.apply, tx=padam(schedule, p=1 / 8), **variables)
for epoch in range(8):
    order = jax.random.permutation(jax.random.key(epoch), 1408).reshape(22, 64)
    for batch in order:
        state, value = train_step(state, images[train][batch], labels[train][batch])
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    logits = net.apply(variables, images[test], train=False)
    accuracy = float((logits.argmax(-1) == labels[test]).mean())
    print(f"epoch {epoch + 1}  loss {value:.3f}  test accuracy {accuracy:.1%}")
