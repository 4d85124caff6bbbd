"""A stream is trained on and tested as if its examples were at hand."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from benchmarks import data
from benchmarks.data.preprocessing import Pixels
from benchmarks.training import epochs
from benchmarks.training.config import TrainConfig
from benchmarks.training.devices import DeviceLayout
from benchmarks.training.monitoring import Progress
from benchmarks.training.step import Programs, TrainState
from tests.marks import fast

# Optax's functions mix dtypes.
pytestmark = pytest.mark.usefixtures("standard_promotion")

RNG = np.random.default_rng(0)
INPUTS = RNG.integers(0, 256, (90, 2, 2, 1), dtype=np.uint8)
LABELS = RNG.integers(0, 3, 90).astype(np.int32)
PIXELS = Pixels((0.5,), (0.25,), padding=0, flip=False)


@dataclasses.dataclass(frozen=True)
class Noise(data.Stream):
    """Batch k has the examples from 5k on; of the test split there are 21."""

    threads: int = 0

    def train_batches(self, batch_size, seed, first_step, shard):
        step = first_step
        while True:
            rows = (5 * step + seed + np.arange(batch_size)) % 90
            yield data.Split(INPUTS[rows], LABELS[rows])
            step += 1

    def test_batches(self, batch_size, shard):
        for start in range(0, 21, batch_size):
            rows = np.arange(start, start + batch_size)
            yield data.Split(INPUTS[rows], LABELS[rows]), rows < 21


class Linear(nnx.Module):
    """Logits that are linear in the pixels."""

    def __init__(self, rngs):
        self.dense = nnx.Linear(4, 3, rngs=rngs)

    def __call__(self, x):
        return self.dense(x.reshape(len(x), -1))


def make_feed(layout, **settings):
    config = TrainConfig(**{"batch_size": 16, **settings})
    source = data.Source("noise", 90, 21, (2, 2, 1), 3, "images", None)
    graph, *weights = nnx.split(Linear(nnx.Rngs(0)), nnx.Param, ...)
    programs = Programs(graph, PIXELS, layout)
    return epochs.make_epoch_runner(config, source, Noise(PIXELS), programs), weights


def train_epochs(feed, weights, tx, count, seed=0):
    params, stats = feed.layout.replicate(tuple(weights))
    state = TrainState(
        feed.layout.replicate(jnp.int32(0)), params, stats, tx.init(params)
    )
    state = state._replace(opt_state=feed.layout.init_opt_state(tx.init, params))
    train = feed.compile_train(tx, state)
    progress = Progress("", 0, optax.constant_schedule(0.0), 1, shown=False)
    losses = []
    for number in range(1, count + 1):
        metrics = epochs.TrainingMetrics(number, progress, feed.batch_size, {})
        for part in feed.parts(seed, int(state.step)):
            state, found = train(state, part)
            metrics.add(found)
        metrics.fetch()
        losses.extend(metrics.values["loss"])
    return losses, jax.device_get(state)


def by_hand(weights, tx, steps, seed):
    """Train with the same batches in a loop of plain Optax."""
    params = jax.tree.map(jnp.asarray, weights[0])
    state = tx.init(params)

    def loss_of(params, x, y):
        logits = x @ params["dense"]["kernel"][...] + params["dense"]["bias"][...]
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    losses = []
    for step in range(steps):
        rows = (5 * step + seed + np.arange(16)) % 90
        x = (INPUTS[rows].reshape(16, 4) / 255 - 0.5) / 0.25
        loss, g = jax.value_and_grad(loss_of)(
            params, jnp.asarray(x, jnp.float32), jnp.asarray(LABELS[rows])
        )
        updates, state = tx.update(g, state, params)
        params = optax.apply_updates(params, updates)
        losses.append(float(loss))
    return losses, params


@pytest.mark.parametrize(
    ("accumulate", "layout"),
    fast([(1, "jit"), (1, "pmap"), (2, "jit"), (2, "pmap")], (1, "pmap"), (2, "jit")),
)
def test_a_stream_is_trained_on_batch_by_batch(layout, accumulate):
    feed, weights = make_feed(DeviceLayout(layout), accumulate=accumulate)
    tx = optax.adam(0.1)
    parts = optax.MultiSteps(tx, accumulate) if accumulate > 1 else tx
    # 90 // 16 = 5 steps an epoch; the sixth begins the second one.
    losses, state = train_epochs(feed, weights, parts, count=2, seed=3)
    expected, params = by_hand(weights, tx, 10, seed=3)
    whole = np.reshape(losses, (10, accumulate)).mean(axis=1)
    np.testing.assert_allclose(whole, expected, rtol=1e-5)
    assert int(state.step) == 10 * accumulate
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
        state.params,
        params,
    )


@pytest.mark.parametrize("layout", ["jit", "pmap"])
def test_a_stream_is_tested_counting_each_example_once(layout):
    feed, weights = make_feed(DeviceLayout(layout))
    placed = feed.layout.replicate(tuple(weights))
    found = feed.compile_evaluate(placed)(placed)
    dense = weights[0]["dense"]
    x = (INPUTS[:21].reshape(21, 4) / 255 - 0.5) / 0.25
    logits = x @ np.asarray(dense["kernel"][...]) + np.asarray(dense["bias"][...])
    chance = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = -np.log(chance[np.arange(21), LABELS[:21]]).mean()
    assert float(found.loss) == pytest.approx(expected, rel=1e-5)
    hits = (logits.argmax(axis=1) == LABELS[:21]).mean()
    assert float(found.accuracy) == pytest.approx(hits, rel=1e-6)


def test_a_loss_that_is_not_finite_ends_a_stream_at_once():
    feed, weights = make_feed(DeviceLayout())
    huge = optax.sgd(float("nan"))
    with pytest.raises(epochs.DivergedError, match="nan in step 2 of epoch 1"):
        train_epochs(feed, weights, huge, count=1)
