"""The loop: the same start for all, one compilation, an end where a loss is NaN."""

import functools
import tempfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from benchmarks import data
from benchmarks.errors import UsageError
from benchmarks.optimizers import OPTIMIZERS
from benchmarks.training import loop, setup
from benchmarks.training.config import TrainConfig
from benchmarks.training.devices import DeviceLayout
from benchmarks.training.preemption import Preemption
from benchmarks.training.step import Programs, TrainState
from benchmarks.training.trainer import Trainer

# Optax's functions mix dtypes.
pytestmark = pytest.mark.usefixtures("standard_promotion")


ONE = DeviceLayout(count=1)


@pytest.fixture(scope="module")
def source():
    """Two hundred digits, and a test set that the batch size does not divide."""
    digits = data.find("digits", None).read()
    dataset = data.Dataset(
        data.Split(*(x[:200] for x in digits.train)),
        data.Split(*(x[:90] for x in digits.test)),
        digits.preprocessing,
    )
    return data.Source("digits", 200, 90, (8, 8, 1), 10, "images", lambda: dataset)


@pytest.fixture(scope="module")
def make(source):
    """Make the trainer of some settings, once: what it has compiled stays."""

    @functools.cache
    def make_trainer(layout=ONE, **settings) -> Any:
        small = {"model": "mlp", "width": 4, "epochs": 2, "batch_size": 32, "keep": 0}
        return Trainer(TrainConfig(**{**small, **settings}), source, layout)

    return make_trainer


def run_one(trainer, name, seed=0):
    with tempfile.TemporaryDirectory() as folder:
        return loop.run_one(trainer, name, seed, Path(folder), Preemption())


def run(trainer, name, seed=0):
    result = run_one(trainer, name, seed)
    assert result.stopped is None
    return result.records


def losses_of_an_epoch(trainer, tx, seed):
    params, stats = trainer.initial_weights(seed)
    start = trainer.layout.replicate((jnp.int32(0), params, stats))
    state = TrainState(*start, trainer.layout.init_opt_state(tx.init, start[1]))
    (part,) = trainer.feed.parts(seed, 0)
    state, metrics = trainer.feed.compile_train(tx, state)(state, part)
    return metrics.loss, state


def test_all_optimizers_start_from_the_same_weights_and_see_the_same_batches(
    make,
):
    trainer = make()
    frozen = losses_of_an_epoch(trainer, optax.set_to_zero(), 0)[0]
    moved = losses_of_an_epoch(trainer, optax.sgd(0.1), 0)[0]
    # Before the first step the two differ by rounding alone: XLA may sum in another
    # order in another program.
    np.testing.assert_allclose(moved[0], frozen[0], rtol=1e-6)
    assert abs(moved[1] / frozen[1] - 1) > 1e-4
    # Training with one optimizer leaves the common start untouched for the next.
    before = jax.tree.map(np.array, trainer.initial_weights(0))
    run(trainer, "momentum")
    jax.tree.map(np.testing.assert_array_equal, before, trainer.initial_weights(0))


def test_a_seed_determines_weights_and_batches(make):
    trainer = make()
    one, again, other = (run(trainer, "padam", seed) for seed in (0, 0, 1))
    first, repeated, second = (
        [line["train_loss"] for line in lines] for lines in (one, again, other)
    )
    assert first == repeated
    assert first != second
    norms = [float(optax.tree.norm(trainer.initial_weights(s)[0])) for s in (0, 1)]
    assert norms[0] != norms[1]
    assert [line["seed"] for line in other] == [1, 1]


def test_an_epoch_needs_nothing_from_the_host_and_gives_its_state_away(make):
    trainer = make()
    tx = optax.sgd(0.1)
    state = trainer.initial_state("momentum", 0)
    state = state._replace(
        opt_state=trainer.layout.init_opt_state(tx.init, state.params)
    )
    feed, shape = trainer.feed, (trainer.feed.steps, trainer.feed.batch_size)
    seed = trainer.layout.replicate(jnp.uint32(0))
    epoch = trainer.layout.compile(
        lambda state, split, seed: feed.programs.train_epoch(
            tx, state, split, seed, shape
        ),
        *(state, feed.splits["train"], seed),
        donate=True,
    )
    with jax.transfer_guard("disallow"):
        after, metrics = epoch(state, feed.splits["train"], seed)
        trainer.evaluate((after.params, after.stats))
    assert metrics.loss.shape == (6,)
    assert int(after.step) == 6
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state.params))


@pytest.fixture(scope="module")
def trainer_of_all(make):
    """One trainer for all names: its evaluation is compiled once."""
    with jax.numpy_dtype_promotion("standard"):
        return make(
            optimizers=tuple(OPTIMIZERS),
            epochs=4,
            schedule="constant",
        )


@pytest.mark.parametrize(
    "name",
    [
        # That each of the others takes a step is tested with the table.
        pytest.param(name, marks=() if name == "padam" else pytest.mark.slow)
        for name in OPTIMIZERS
    ],
)
def test_every_optimizer_trains_the_network_on_digits(trainer_of_all, name):
    records = run(trainer_of_all, name)
    assert [line["epoch"] for line in records] == [1, 2, 3, 4]
    # Without augmentation, which a slow optimizer does not outweigh in 24 steps.
    assert records[-1]["test_loss"] < records[0]["test_loss"]
    assert {"run", "step", "learning_rate", "test_loss", "seconds"} <= set(records[0])


def test_an_epoch_is_compiled_once_for_all_epochs_and_seeds(make, monkeypatch):
    trainer = make(epochs=4, seeds=2)
    traces = []
    original = Programs.train_step

    def counted(*arguments):
        traces.append(1)
        return original(*arguments)

    monkeypatch.setattr(Programs, "train_step", counted)
    assert len(run(trainer, "padam", 0)) == len(run(trainer, "padam", 1)) == 4
    assert len(traces) == 1


def test_a_loss_that_is_not_finite_ends_the_run_and_says_where(make, monkeypatch):
    trainer = make(epochs=3)
    bad = jax.tree.map(lambda x: x * jnp.nan, trainer.initial_weights(0))
    monkeypatch.setattr(trainer, "initial_weights", lambda seed: bad)
    result = run_one(trainer, "adam")
    assert result.records == []
    assert result.stopped == "the training loss is nan in step 1 of epoch 1"


def test_diagnostics_show_how_far_the_weights_have_come(make):
    trainer = make(diagnostics=True)
    records = run(trainer, "amsgrad")
    distances = [line["distance_from_start"] for line in records]
    assert 0 < distances[0] < distances[1]
    assert len(records[0]["effective_learning_rate"]) == 5


@pytest.mark.slow
def test_parts_of_a_batch_make_the_step_of_the_whole(make):
    """A network without BatchNorm, whose statistics would be those of the parts."""
    settings = {"model": "lenet", "optimizers": ("padam",), "augment": False}
    whole = run(make(**settings), "padam")
    parts = run(make(**settings, accumulate=4), "padam")
    for one, other in zip(whole, parts, strict=True):
        for key in ("train_loss", "test_loss", "step", "learning_rate"):
            assert one[key] == pytest.approx(other[key], rel=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 208}, "--batch-size must be at most 200"),
        ({"batch_size": 36}, "multiple of 8 for 8 devices, got 36"),
        ({"batch_size": 40, "accumulate": 2}, "of 16 for 8 devices and 2 parts"),
        ({"model": "lstm-1"}, "lstm-1 takes text, --dataset digits holds images"),
        (
            {"accumulate": 2, "optimizers": ("lbfgs",), "batch_size": 32},
            "needs the whole batch",
        ),
    ],
)
def test_what_the_set_or_the_devices_cannot_do_is_refused(source, settings, message):
    with pytest.raises(UsageError, match=message):
        setup.validate(TrainConfig(**settings), source, DeviceLayout())


def test_images_too_small_for_the_network_are_refused():
    source = data.Source("specks", 200, 90, (4, 8, 1), 10, "images", lambda: None)
    with pytest.raises(UsageError, match="at least 8x8 pixels, those of specks have 4"):
        setup.validate(TrainConfig(), source, DeviceLayout())


def test_the_last_record_has_what_the_whole_training_set_ends_with(source, make):
    trainer = make(model="logistic", augment=False, optimizers=("sgd",))
    first, last = run(trainer, "sgd")
    assert not [name for name in first if name.startswith("final")]
    # A linear layer on normalized pixels, in NumPy.
    state = {}
    make.cache_clear()  # one that has compiled nothing yet
    trainer = make(model="logistic", augment=False, optimizers=("sgd",))
    evaluate = trainer.feed.compile_evaluate

    def keep(weights, split="test"):
        compiled = evaluate(weights, split)

        def measure(weights):
            state[split] = jax.device_get(weights)
            return compiled(weights)

        return measure

    trainer.feed.compile_evaluate = keep
    again = run(trainer, "sgd")[-1]["final_train_loss"]
    assert again == pytest.approx(last["final_train_loss"], rel=1e-6)
    kernel, bias = sorted(
        map(np.asarray, jax.tree.leaves(state["train"])), key=np.ndim
    )[::-1]
    dataset = source.read()
    pixels = dataset.preprocessing
    inputs = (dataset.train.inputs / 255 - pixels.mean) / pixels.std
    logits = inputs.reshape(200, -1) @ kernel + bias
    right = logits.argmax(1) == dataset.train.labels
    assert last["final_train_accuracy"] == pytest.approx(right.mean(), abs=1e-6)
    log_sum = np.log(np.exp(logits).sum(1))
    losses = log_sum - logits[np.arange(200), dataset.train.labels]
    assert last["final_train_loss"] == pytest.approx(losses.mean(), rel=1e-4)


def test_a_validated_run_never_speaks_of_a_test_set(make):
    settings = {"optimizers": ("sgd",), "augment": False, "validate": True}
    trainer = make(model="logistic", **settings)
    for record in run(trainer, "sgd"):
        assert {"validation_loss", "validation_accuracy"} <= set(record)
        assert not [name for name in record if name.startswith("test")]


def test_what_is_evaluated_may_be_an_average_of_the_weights(make):
    trainer = make(optimizers=("schedule-free",), augment=False)
    prepared = trainer.prepare("schedule-free")
    state = trainer.initial_state("schedule-free", 0)
    (part,) = trainer.feed.parts(0, 0)
    state, _ = prepared.train(state, part)
    averages, _ = jax.device_get(prepared.weights(state))
    # y = 0.1 z + 0.9 x
    expected = jax.tree.map(
        lambda y, z: (y - 0.1 * z) / 0.9,
        *jax.device_get((state.params, state.opt_state.z)),
    )
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
        averages,
        expected,
    )
    moved = jax.tree.map(
        lambda a, b: np.abs(a - b).max(), averages, jax.device_get(state.params)
    )
    assert max(jax.tree.leaves(moved)) > 1e-4
