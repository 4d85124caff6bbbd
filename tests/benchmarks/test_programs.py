"""A single step and the plan of an epoch, beside what they are by definition."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from benchmarks import data, train
from benchmarks.config import TrainConfig
from benchmarks.parallel import parallel


class Linear(nnx.Module):
    """Logits that are linear in the pixels."""

    def __init__(self, rngs):
        self.dense = nnx.Linear(12, 3, rngs=rngs)

    def __call__(self, x):
        return self.dense(x.reshape(len(x), -1))


@pytest.fixture(scope="module")
def noise():
    """Images of noise, their number no multiple of the batch size of 8."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (53, 8, 8, 1), dtype=np.uint8)
    split = data.Split(images, rng.integers(0, 4, 53).astype(np.int32))
    return data.Dataset(split, split, (0.5,), (0.3,), padding=1, flip=False)


def test_a_step_descends_the_gradient_of_the_softmax():
    rng = np.random.default_rng(0)
    images = rng.standard_normal((5, 2, 2, 3)).astype(np.float32)
    labels = np.array([0, 2, 1, 1, 0], np.int32)
    graph, params, stats = nnx.split(Linear(nnx.Rngs(0)), nnx.Param, ...)
    kernel, bias = (
        np.asarray(params["dense"][name][...]) for name in ("kernel", "bias")
    )

    x = images.reshape(5, 12).astype(np.float64)
    logits = x @ kernel + bias
    odds = np.exp(logits)
    chance = odds / odds.sum(axis=1, keepdims=True)
    residual = (chance - np.eye(3)[labels]) / 5

    tx = optax.sgd(0.5)
    state = train.TrainState(jnp.int32(7), params, stats, tx.init(params))
    state, (loss, accuracy) = train.train_step(
        graph, tx, parallel("jit"), state, jnp.asarray(images), jnp.asarray(labels)
    )
    dense = state.params["dense"]
    np.testing.assert_allclose(
        dense["kernel"][...], kernel - 0.5 * x.T @ residual, rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(
        dense["bias"][...], bias - 0.5 * residual.sum(axis=0), rtol=1e-5, atol=1e-6
    )
    expected = -np.log(chance[np.arange(5), labels]).mean()
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    assert float(accuracy) == pytest.approx((logits.argmax(axis=1) == labels).mean())
    assert int(state.step) == 8


def test_an_epoch_visits_no_image_twice_and_the_next_leaves_out_others(noise):
    left_out = set()
    for key in jax.random.split(jax.random.key(0), 8):
        order, draws = train.plan_epoch(key, noise, (6, 8))
        assert order.shape == draws.top.shape == (6, 8)
        visited = set(np.ravel(order).tolist())
        assert len(visited) == 48
        assert visited < set(range(53))
        left_out.add(frozenset(range(53)) - visited)
    assert len(left_out) > 1


def test_an_epoch_needs_nothing_from_the_host_and_gives_its_state_away(noise):
    config = TrainConfig(width=1, batch_size=8)
    trainer = train.Trainer(config, noise, classes=4, mode=parallel("jit"))
    tx = optax.sgd(0.1)
    state = trainer.initial_state(tx)
    epoch = trainer.compile_epoch(tx, state)
    with jax.transfer_guard("disallow"):
        after, (losses, _) = epoch(state, trainer.train)
    assert losses.shape == (6,)
    assert int(after.step) == 6
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state.params))
    # The common initial weights are still there for the next optimizer.
    again = trainer.initial_state(tx)
    after_again, _ = epoch(again, trainer.train)
    for a, b in zip(
        jax.tree.leaves(after.params), jax.tree.leaves(after_again.params), strict=True
    ):
        np.testing.assert_array_equal(a, b)
