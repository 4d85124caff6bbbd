"""Dropout: what is dropped, in training and evaluation, on any number of devices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from benchmarks import data
from benchmarks.training.config import TrainConfig
from benchmarks.training.devices import DeviceLayout
from benchmarks.training.trainer import Trainer
from tests.helpers import layers_reference as reference
from tests.helpers.building import build, images, layers, parameters

DEVICES = {
    "one": DeviceLayout(count=1),
    "eight": DeviceLayout(),
    "eight, pmap": DeviceLayout("pmap"),
}


def make(rate, seed=0, **settings):
    made = layers(**settings)
    made.rngs = nnx.Rngs(seed)
    return made.dropout(rate)


def test_features_are_dropped_with_the_rate_and_the_others_scaled_up():
    y = np.asarray(make(0.2)(jnp.full((100, 200), 3.0)))
    assert set(np.unique(y)) == {0, np.float32(3 / 0.8)}
    # Four standard deviations of 20,000 draws.
    assert np.mean(y == 0) == pytest.approx(0.2, abs=4 * (0.16 / 20_000) ** 0.5)
    assert len(np.unique(y != 0, axis=0)) == 100, "each example has its own"


def test_each_call_and_each_seed_has_draws_of_its_own():
    x, first, other = jnp.ones((8, 50)), make(0.5), make(0.5, seed=1)
    a, b, c = first(x), first(x), other(x)
    assert not np.array_equal(a, b)
    assert not np.array_equal(a, c)
    np.testing.assert_array_equal(make(0.5)(x), a)


def test_in_evaluation_nothing_is_dropped():
    model, x = build("mlp-3-dropout", (4, 3, 2)), images(4, 4, 3, 2)
    dropped = model(x)
    model.eval()
    y = np.asarray(x).reshape(4, 24)
    for dense in model.hidden:
        y = reference.relu(reference.dense(y, dense))
    expected = reference.dense(y, model.head)
    np.testing.assert_allclose(model(x), expected, rtol=1e-5, atol=1e-6)
    assert not np.allclose(dropped, expected, atol=1e-3)


@pytest.mark.parametrize("name", ["mlp-3", "adam-cnn"])
def test_weights_begin_as_without_dropout(name):
    shape = (8, 8, 3)
    plain, dropped = (build(n, shape) for n in (name, f"{name}-dropout"))
    jax.tree.map(np.testing.assert_array_equal, parameters(plain), parameters(dropped))


@pytest.mark.slow
def test_input_and_dense_layer_of_the_convolutional_network_are_dropped():
    model = build("adam-cnn-dropout", (8, 8, 3), width=4)
    inputs, units = model.dropouts
    assert inputs.rate == units.rate == 0.5
    model(images(2, 8, 8, 3))
    assert int(inputs.calls[...]) == int(units.calls[...]) == 1
    assert int(inputs.seed[...]) != int(units.seed[...])


@functools.cache
def make_trainer(where):
    config = TrainConfig(
        model="mlp-3-dropout", width=16, optimizers=("adam",), batch_size=128, epochs=2
    )
    return Trainer(config, data.find("digits", None), DEVICES[where])


def take_an_epoch(trainer, state, seed=0):
    (part,) = trainer.feed.parts(seed, 0)
    state, metrics = trainer.prepare("adam").train(state, part)
    return state, np.array(metrics.loss)


@pytest.mark.slow
@pytest.mark.usefixtures("standard_promotion")
@pytest.mark.parametrize(
    "where", ["eight", pytest.param("eight, pmap", marks=pytest.mark.slow)]
)
def test_the_draws_do_not_depend_on_the_number_of_devices(where):
    ends, losses = [], []
    for trainer in map(make_trainer, ("one", where)):
        state, loss = take_an_epoch(trainer, trainer.initial_state("adam", 0))
        ends.append(jax.device_get((state.params, state.stats)))
        losses.append(loss)
    np.testing.assert_allclose(*losses, rtol=1e-5)
    for a, b in zip(*map(jax.tree.leaves, ends), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("standard_promotion")
def test_training_goes_on_from_its_state_with_the_same_draws():
    trainer = make_trainer("one")
    state, _ = take_an_epoch(trainer, trainer.initial_state("adam", 0))
    kept = jax.device_get(state)
    _, expected = take_an_epoch(trainer, state)
    _, found = take_an_epoch(trainer, trainer.layout.replicate(kept))
    np.testing.assert_array_equal(found, expected)
    calls = {int(x) for x in jax.tree.leaves(kept.stats) if x < 1000}
    assert calls == {1437 // 128}, "one call in each step"
