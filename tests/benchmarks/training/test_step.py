"""A step, an epoch and an evaluation, beside what they are by definition."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from benchmarks import data
from benchmarks.data.preprocessing import Pixels
from benchmarks.training.devices import DeviceLayout
from benchmarks.training.step import Programs, TrainState, measure


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
    images = rng.integers(0, 256, (53, 2, 2, 3), dtype=np.uint8)
    return data.Split(images, rng.integers(0, 3, 53).astype(np.int32))


@pytest.fixture
def programs():
    graph, *_ = nnx.split(Linear(nnx.Rngs(0)), nnx.Param, ...)
    pixels = Pixels((0.5,) * 3, (0.3,) * 3, padding=1, flip=False)
    return Programs(graph, pixels, DeviceLayout())


def begin(tx):
    _, params, stats = nnx.split(Linear(nnx.Rngs(0)), nnx.Param, ...)
    return TrainState(jnp.int32(7), params, stats, tx.init(params))


def softmax(inputs, params):
    """Return the logits and the probabilities, in float64."""
    dense = params["dense"]
    kernel, bias = (np.asarray(dense[name][...], float) for name in ("kernel", "bias"))
    logits = np.asarray(inputs, float).reshape(len(inputs), -1) @ kernel + bias
    odds = np.exp(logits)
    return logits, odds / odds.sum(axis=1, keepdims=True)


def test_a_step_descends_the_gradient_of_the_softmax(programs):
    rng = np.random.default_rng(0)
    images = rng.standard_normal((5, 2, 2, 3)).astype(np.float32)
    labels = np.array([0, 2, 1, 1, 0], np.int32)
    tx = optax.sgd(0.5)
    before = begin(tx)
    logits, chance = softmax(images, before.params)
    residual = (chance - np.eye(3)[labels]) / 5

    state, metrics = programs.train_step(
        tx, before, jnp.asarray(images), jnp.asarray(labels)
    )
    old, new = before.params["dense"], state.params["dense"]
    np.testing.assert_allclose(
        new["kernel"][...],
        old["kernel"][...] - 0.5 * images.reshape(5, 12).T @ residual,
        rtol=1e-5,
        atol=1e-6,
    )
    np.testing.assert_allclose(
        new["bias"][...],
        old["bias"][...] - 0.5 * residual.sum(axis=0),
        rtol=1e-5,
        atol=1e-6,
    )
    expected = -np.log(chance[np.arange(5), labels]).mean()
    assert float(metrics.loss) == pytest.approx(expected, rel=1e-5)
    hits = logits.argmax(axis=1) == labels
    assert float(metrics.accuracy) == pytest.approx(hits.mean())
    assert int(state.step) == 8


def test_text_is_measured_per_character():
    logits = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    labels = np.array([[0, 1, 2], [3, 3, 3]], np.int32)
    metrics = measure(jnp.asarray(logits), jnp.asarray(labels))
    chance = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    chosen = np.take_along_axis(chance, labels[..., None], axis=-1)[..., 0]
    np.testing.assert_allclose(metrics.loss, -np.log(chosen).mean(axis=1), rtol=1e-5)
    hits = logits.argmax(axis=-1) == labels
    np.testing.assert_allclose(metrics.accuracy, hits.mean(axis=1), rtol=1e-6)


@pytest.mark.parametrize("batch_size", [8, 16, 56, 64])
def test_evaluation_counts_each_example_once(programs, noise, batch_size):
    state = begin(optax.identity())
    split = jax.tree.map(jnp.asarray, noise)
    weights = state.params, state.stats
    metrics = programs.evaluate(weights, split, batch_size)
    inputs = (noise.inputs / 255 - 0.5) / 0.3
    logits, chance = softmax(inputs, state.params)
    losses = -np.log(chance[np.arange(53), noise.labels])
    assert float(metrics.loss) == pytest.approx(losses.mean(), rel=1e-5)
    hits = logits.argmax(axis=1) == noise.labels
    assert float(metrics.accuracy) == pytest.approx(hits.mean(), rel=1e-6)
    # Batch by batch, as a stream is evaluated, rows that do not count are left out.
    counts = jnp.arange(53) % 3 > 0
    sums = programs.evaluate_batch(weights, (split, counts))
    assert float(sums.loss) == pytest.approx(losses[counts].sum(), rel=1e-5)
    assert float(sums.accuracy) == hits[counts].sum()


def test_an_epoch_visits_no_image_twice_and_the_next_leaves_out_others(programs):
    left_out = set()
    for key in jax.random.split(jax.random.key(0), 8):
        order, draws = programs.plan_epoch(key, 53, (6, 8))
        assert order.shape == draws.top.shape == (6, 8)
        visited = set(np.ravel(order).tolist())
        assert len(visited) == 48
        assert visited < set(range(53))
        left_out.add(frozenset(range(53)) - visited)
    assert len(left_out) > 1


def test_seed_and_step_determine_an_epoch(programs, noise):
    # Without steps the loss of a batch depends on its images alone.
    tx = optax.set_to_zero()
    split = jax.tree.map(jnp.asarray, noise)

    def losses(state, seed):
        state, metrics = programs.train_epoch(
            tx, state, split, jnp.uint32(seed), (6, 8)
        )
        return state, metrics.loss.tolist()

    after, first = losses(begin(tx), 0)
    assert int(after.step) == 13
    assert losses(begin(tx), 0)[1] == first
    assert losses(begin(tx), 1)[1] != first
    assert losses(after, 0)[1] != first
