"""A p for each group of layers: 1/2 for embeddings and norms, 1/8 for the rest."""

import jax
import jax.numpy as jnp
import optax

from padam_optax import padam
from padam_optax.diagnostics import learning_rate_for, median_root_nu

keys = jax.random.split(jax.random.key(0), 4)
params = {
    "embed": jax.random.normal(keys[0], (20, 8)),
    "norm": jnp.ones(8),
    "dense": jax.random.normal(keys[1], (8, 20)) / 8**0.5,
}
tokens = jax.random.randint(keys[2], (256,), 0, 20)
targets = (3 * tokens + 1) % 20


def loss(params):
    x = params["embed"][tokens]
    x = params["norm"] * x / jnp.sqrt((x**2).mean(-1, keepdims=True) + 1e-6)
    logits = x @ params["dense"]
    return optax.softmax_cross_entropy_with_integer_labels(logits, targets).mean()


@jax.jit
def train_step(params, state):
    value, gradients = jax.value_and_grad(loss)(params)
    updates, state = optimizer.update(gradients, state, params)
    return optax.apply_updates(params, updates), state, value


# A learning rate belongs to a p. This one is right for p = 1/2; a few steps measure
# what the rate for p = 1/8 depends on, the size of the second moments.
rate = 0.01
optimizer = padam(rate, p=1 / 2)
state = optimizer.init(params)
for _ in range(10):
    _, state, _ = train_step(params, state)
size = median_root_nu(state)
eighth = learning_rate_for(1 / 8, 1 / 2, rate, size)
print(f"median root of the second moments {size:.4f}, rate for p = 1/8 {eighth:.4f}")

labels = {"embed": "half", "norm": "half", "dense": "eighth"}
optimizer = optax.multi_transform(
    {"half": padam(rate, p=1 / 2), "eighth": padam(eighth, p=1 / 8)}, labels
)
train_step.clear_cache()  # the step reads `optimizer`
state = optimizer.init(params)
for _ in range(300):
    params, state, value = train_step(params, state)
print(f"loss {value:.1e}")
