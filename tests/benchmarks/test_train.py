"""The loop: the same start for all, each example counted once, one compilation."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from benchmarks import data, train
from benchmarks.augmentation import normalise
from benchmarks.config import TrainConfig, UsageError
from benchmarks.optimizers import OPTIMIZERS
from benchmarks.parallel import Parallel, parallel

# Optax's functions mix dtypes.
pytestmark = pytest.mark.usefixtures("standard_promotion")


@pytest.fixture(scope="module")
def dataset():
    """Two hundred digits, and a test set that the batch size does not divide."""
    digits = data.find("digits", None).read()
    return data.Dataset(
        data.Split(digits.train.images[:200], digits.train.labels[:200]),
        data.Split(digits.test.images[:90], digits.test.labels[:90]),
        digits.mean,
        digits.std,
        digits.padding,
        digits.flip,
    )


def make_trainer(dataset, mode=None, **settings):
    settings = {"width": 4, "epochs": 2, "batch_size": 32, **settings}
    return train.Trainer(TrainConfig(**settings), dataset, 10, mode or parallel("jit"))


def test_evaluation_counts_each_example_once(dataset):
    trainer = make_trainer(dataset)
    loss, accuracy = trainer.evaluate((trainer.params, trainer.stats), trainer.test)
    model = nnx.merge(trainer.graph, trainer.params, trainer.stats, copy=True)
    model.eval()
    images = jnp.asarray(dataset.test.images)
    logits = np.asarray(model(normalise(images, dataset.mean, dataset.std)), float)
    labels = dataset.test.labels
    largest = logits.max(1)
    expected = largest + np.log(np.exp(logits - largest[:, None]).sum(1))
    expected -= logits[np.arange(90), labels]
    np.testing.assert_allclose(loss, expected.mean(), rtol=1e-5)
    np.testing.assert_allclose(accuracy, np.mean(logits.argmax(1) == labels), 1e-6)


def test_all_optimizers_start_from_the_same_weights_and_see_the_same_batches(dataset):
    trainer = make_trainer(dataset)

    def spy():
        """Leave the weights alone and return what they would be moved by."""
        return optax.GradientTransformation(
            lambda params: optax.tree.zeros_like(params),
            lambda g, state, params=None: (optax.tree.zeros_like(g), g),
        )

    seen = []
    for _ in range(2):
        state = trainer.initial_state(spy())
        state, (losses, _) = trainer.compile_epoch(spy(), state)(state, trainer.train)
        seen.append((losses, jax.tree.leaves(state.opt_state)))
    for first, second in zip(*map(jax.tree.leaves, seen), strict=True):
        np.testing.assert_array_equal(first, second)
    # Training with one optimizer leaves the common start untouched for the next.
    before = jax.tree.map(np.array, trainer.params)
    list(trainer.run("momentum"))
    jax.tree.map(np.testing.assert_array_equal, before, trainer.params)


def test_every_epoch_has_another_order(dataset):
    trainer = make_trainer(dataset, batch_size=50, augment=False)
    # Without steps the loss of a batch depends on its images alone.
    frozen = optax.set_to_zero()
    state = trainer.initial_state(frozen)
    epoch = trainer.compile_epoch(frozen, state)
    state, (first, _) = epoch(state, trainer.train)
    assert int(state.step) == 4
    _, (second, _) = epoch(state, trainer.train)
    assert not np.array_equal(first, second)


@pytest.fixture(scope="module")
def trainer_of_all(dataset):
    """One trainer for all names: its evaluation is compiled once."""
    with jax.numpy_dtype_promotion("standard"):
        return make_trainer(dataset, width=2, epochs=4, milestones=())


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_trains_the_network_on_digits(trainer_of_all, name):
    records = list(trainer_of_all.run(name))
    assert [line["epoch"] for line in records] == [1, 2, 3, 4]
    assert records[-1]["train_loss"] < records[0]["train_loss"]
    assert {"run", "step", "learning_rate", "test_loss", "seconds"} <= set(records[0])


def test_an_epoch_is_compiled_once(dataset, monkeypatch):
    trainer = make_trainer(dataset, epochs=4)
    traces = []
    original = train.train_step

    def counted(*arguments):
        traces.append(1)
        return original(*arguments)

    monkeypatch.setattr(train, "train_step", counted)
    assert len(list(trainer.run("padam"))) == 4
    assert len(traces) == 1


def test_a_loss_that_is_not_finite_ends_the_run_and_says_where(dataset):
    trainer = make_trainer(dataset, epochs=3)
    bad = jax.tree.map(lambda x: x * jnp.nan, trainer.params)
    trainer.params = bad
    with pytest.raises(train.DivergedError, match="nan in epoch 1, step 1"):
        list(trainer.run("adam"))


def step_on(mode, dataset, name, steps):
    """Train without augmentation for a few steps; return losses and weights."""
    trainer = make_trainer(dataset, mode, batch_size=200 // steps, augment=False)
    settings = {**OPTIMIZERS[name].recipe, "learning_rate": lambda count: 1e-2}
    if name == "amsgrad":
        # Before BatchNorm the gradient of a bias is 0 but for rounding, of which a
        # small ε would make whole steps.
        settings["eps"] = 1e-3
    tx = OPTIMIZERS[name].build(**settings)
    state = trainer.initial_state(tx)
    state, (losses, accuracies) = trainer.compile_epoch(tx, state)(state, trainer.train)
    testing = trainer.evaluate((state.params, state.stats), trainer.test)
    return jax.device_get((losses, accuracies, testing, state.params, state.stats))


@pytest.mark.parametrize("name", ["padam", "amsgrad", "momentum", "lbfgs"])
def test_eight_devices_under_pmap_give_the_numbers_of_one(dataset, name):
    mode = parallel("pmap")
    assert mode.devices == 8
    one = step_on(parallel("jit"), dataset, name, 5)
    eight = step_on(mode, dataset, name, 5)
    for expected, actual in zip(*map(jax.tree.leaves, (one, eight)), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "mode", "message"),
    [
        ({"batch_size": 201}, Parallel(1, None), "--batch-size must be at most 200"),
        ({"batch_size": 36}, Parallel(8, "devices"), "multiple of the 8 devices"),
    ],
)
def test_what_the_set_or_the_devices_cannot_do_is_refused(settings, mode, message):
    source = data.Source("digits", 200, (8, 8, 1), 10, lambda: None)
    with pytest.raises(UsageError, match=message):
        train.check(TrainConfig(**settings), source, mode)


def test_images_too_small_for_the_network_are_refused():
    source = data.Source("specks", 200, (4, 8, 1), 10, lambda: None)
    with pytest.raises(UsageError, match="at least 8x8 pixels, those of specks have 4"):
        train.check(TrainConfig(), source, Parallel(1, None))
