"""Eight devices give the numbers of one, and divide the work and the memory."""

import dataclasses
import functools
import re
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax.experimental import multihost_utils
from jax.sharding import PartitionSpec

from benchmarks import data, models, optimizers
from benchmarks.errors import UsageError
from benchmarks.models.convolution import conv_general_dilated
from benchmarks.models.layers import ConvNorm, Layers, global_mean
from benchmarks.training import setup
from benchmarks.training.config import TrainConfig
from benchmarks.training.devices import DeviceLayout
from benchmarks.training.step import TrainState
from benchmarks.training.trainer import Trainer

ONE = DeviceLayout(count=1)
MODES = {
    "jit": DeviceLayout(),
    "jit, state divided": DeviceLayout(shard_optimizer=True),
    "pmap": DeviceLayout("pmap"),
}
KEY = jax.dtypes.prng_key
COLLECTIVE = re.compile(
    r"(all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)"
    r"(?:-start)?\("
)


class Tiny(nnx.Module):
    """Two convolutions without bias, one with stride 2, BatchNorm after each.

    Of a bias before BatchNorm the gradient is 0 but for rounding, of which Adam makes
    whole steps.
    """

    def __init__(self, layers, width, channels, classes):
        self.first = ConvNorm(layers, channels, width, 3, stride=1)
        self.second = ConvNorm(layers, width, 2 * width, 3, stride=2)
        self.head = layers.head(2 * width, classes)

    def __call__(self, x):
        x = nnx.relu(self.first(x))
        return self.head(global_mean(nnx.relu(self.second(x))))


def tiny(width, input_shape, classes, **settings):
    layers = Layers("torch", "torch", **settings)
    return Tiny(layers, width, input_shape[-1], classes)


@pytest.fixture(autouse=True)
def tiny_model(monkeypatch, standard_promotion):  # Optax's functions mix dtypes
    row = models.Model(tiny, 8, 8, "for tests")
    monkeypatch.setitem(models.MODELS, "tiny", row)


@functools.cache
def digits():
    """640 of the digits, as if there were 16 classes, which eight devices divide.

    A third of the labels is wrong: a problem without an exact solution, for otherwise
    L-BFGS takes differences of gradients that are almost 0.
    """
    source = data.find("digits", None)
    whole = source.read()
    inputs, labels = (x[:640].copy() for x in whole.train)
    labels[::3] = np.random.default_rng(0).integers(0, 10, len(labels[::3]))
    part = dataclasses.replace(
        whole,
        train=data.Split(inputs, labels),
        test=data.Split(*(x[:90] for x in whole.test)),
    )
    return dataclasses.replace(
        source, train_size=640, test_size=90, classes=16, read=lambda: part
    )


@functools.cache
def make_trainer(layout, name, **settings) -> Any:
    settings = {"model": "tiny", "batch_size": 128, "epochs": 4, **settings}
    config = TrainConfig(optimizers=(name,), **settings)
    return Trainer(config, digits(), layout)


def take_steps(trainer, name):
    """Train to the end; return the last state, the losses, the last evaluation."""
    state, losses = trainer.initial_state(name, 0), []
    for _ in range(trainer.config.epochs):
        (part,) = trainer.feed.parts(0, int(state.step))
        state, metrics = trainer.prepare(name).train(state, part)
        losses.extend(jax.device_get(metrics.loss))
    testing = trainer.evaluate((state.params, state.stats))
    return state, np.array(losses), jax.device_get(testing)


def twenty_steps(layout, name):
    """A line search wants a whole problem in each step, and a convex one."""
    settings = {}
    if name == "lbfgs":
        settings = {"batch_size": 640, "epochs": 20, "model": "logistic"}
    return take_steps(make_trainer(layout, name, **settings), name)


@functools.cache
def twenty_steps_on_one_device(name):
    return twenty_steps(ONE, name)


def assert_close(actual, expected):
    for a, b in zip(*map(jax.tree.leaves, (actual, expected)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def fast(*arguments):
    """Whether a combination is among those that are tried by default."""
    return arguments in {
        ("padam", "jit, state divided"),
    }


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        pytest.param(name, layout, marks=() if fast(name, layout) else pytest.mark.slow)
        for name in ("padam", "amsgrad", "momentum", "lbfgs")
        for layout in MODES
    ],
)
def test_eight_devices_give_the_numbers_of_one(name, layout):
    one, losses_of_one, test_of_one = twenty_steps_on_one_device(name)
    eight, losses, test = twenty_steps(MODES[layout], name)
    assert len(one.step.devices()) == 1
    assert len(eight.step.devices()) == 8
    assert len(losses) == int(eight.step) == int(one.step) == 20
    assert losses_of_one[-1] < losses_of_one[0]
    assert_close(losses, losses_of_one)
    assert_close(test, test_of_one)
    assert_close(eight.params, one.params)
    assert_close(eight.stats, one.stats)


@pytest.mark.slow
@pytest.mark.parametrize("layout", [ONE, *MODES.values()], ids=["one", *MODES])
def test_parts_of_a_batch_give_the_numbers_of_the_whole(layout):
    settings = {"model": "mlp", "augment": False, "epochs": 2}
    whole, _, test_of_whole = take_steps(
        make_trainer(ONE, "padam", **settings), "padam"
    )
    parts = make_trainer(layout, "padam", accumulate=4, **settings)
    assert parts.feed.batch_size == 32
    state, losses, test = take_steps(parts, "padam")
    assert len(losses) == 40
    assert_close(state.params, whole.params)
    assert_close(test, test_of_whole)


def bytes_per_device(tree):
    sizes = dict.fromkeys(jax.devices(), 0)
    for leaf in jax.tree.leaves(tree):
        for shard in leaf.addressable_shards:
            sizes[shard.device] += shard.data.nbytes
    return list(sizes.values())


@pytest.mark.parametrize(
    "name", ["padam", pytest.param("amsgrad", marks=pytest.mark.slow)]
)
def test_each_device_keeps_an_eighth_of_the_state(name):
    trainer = make_trainer(MODES["jit, state divided"], name)
    state, _, _ = take_steps(trainer, name)
    arrays = [x for x in jax.tree.leaves(state.opt_state) if x.ndim]
    # Two moments and the maximum.
    whole = 3 * sum(x.nbytes for x in jax.tree.leaves(state.params))
    assert bytes_per_device(arrays) == [whole // 8] * 8
    assert all(x.is_fully_replicated for x in jax.tree.leaves(state.params))
    whole_state = make_trainer(MODES["jit"], name).initial_state(name, 0).opt_state
    assert bytes_per_device([x for x in jax.tree.leaves(whole_state) if x.ndim]) == (
        [whole] * 8
    )


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((3, 3, 8, 16), (None, None, None, "data")),
        ((3, 3, 24, 16), (None, None, "data", None)),
        ((16, 16), ("data", None)),
        ((8, 100), ("data", None)),
        ((64,), ("data",)),
        ((7, 9), ()),
        ((10,), ()),
        ((0,), ()),
        ((), ()),
    ],
)
def test_the_longest_axis_that_the_devices_divide_is_divided(shape, axes):
    leaf = jax.ShapeDtypeStruct(shape, jnp.float32)
    divided = DeviceLayout(shard_optimizer=True).state_sharding(leaf)
    assert divided.spec == PartitionSpec(*axes)
    assert DeviceLayout().state_sharding(leaf).spec == PartitionSpec()


def compile_update(name):
    """Compile an update of a divided state, with parts of gradients and weights."""
    layout = MODES["jit, state divided"]
    tx = optimizers.build(
        name,
        optimizers.recipe(name, {}),
        lambda count: 0.1,
        optimizers.Run(steps=20, num_examples=640, seed=0),
    )
    weights, _ = make_trainer(layout, "padam").initial_weights(0)
    state = layout.init_opt_state(tx.init, weights)
    parts = jax.device_put(weights, jax.tree.map(layout.state_sharding, weights))
    return jax.jit(tx.update).lower(parts, state, parts).compile().as_text()


@pytest.mark.parametrize("name", ["padam", "amsgrad"])
def test_devices_update_their_parts_without_talking(name):
    assert not COLLECTIVE.findall(compile_update(name))


def test_the_search_for_talk_finds_that_of_a_norm_over_all_weights():
    assert set(COLLECTIVE.findall(compile_update("adagrad-norm"))) == {"all-reduce"}


def compile_epoch(layout):
    trainer, tx = make_trainer(layout, "padam"), optax.sgd(0.1)
    weights = layout.replicate((jnp.int32(0), *trainer.initial_weights(0)))
    state = TrainState(*weights, layout.init_opt_state(tx.init, weights[1]))
    return layout.compile(
        lambda state, split, seed: trainer.feed.programs.train_epoch(
            tx, state, split, seed, (5, 128)
        ),
        *(state, trainer.feed.splits["train"], layout.replicate(jnp.uint32(0))),
        donate=True,
    )


def test_the_work_is_divided_and_no_activations_are_exchanged():
    one, eight = compile_epoch(ONE), compile_epoch(MODES["jit"])
    work = [program.cost_analysis()["flops"] for program in (one, eight)]
    assert 7 < work[0] / work[1] < 9
    # Only sums over the batch: of gradients, of BatchNorm's statistics, of metrics.
    assert not COLLECTIVE.findall(one.as_text())
    assert set(COLLECTIVE.findall(eight.as_text())) == {"all-reduce"}


@pytest.mark.parametrize("strides", [(1, 1), (2, 2)])
def test_a_convolution_and_its_gradients_work_on_parts_of_the_batch(strides):
    layout = MODES["jit"]

    def loss(x, kernel):
        y = conv_general_dilated(x, kernel, strides, ((1, 1), (1, 1)))
        return (y**2).sum()

    x, kernel = jnp.ones((64, 8, 8, 4)), jnp.ones((3, 3, 4, 16))
    placed = layout.shard_batch(np.asarray(x)), layout.replicate(kernel)
    program = jax.jit(jax.grad(loss, (0, 1))).lower(*placed).compile()
    dx, dkernel = program(*placed)
    assert dx.addressable_shards[0].data.shape == (8, 8, 8, 4)
    assert dkernel.is_fully_replicated
    for found, expected in zip(
        (dx, dkernel), jax.grad(loss, (0, 1))(x, kernel), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    text = program.as_text()
    # Forward, image's gradient, kernel's gradient: 64 images nowhere.
    convolutions = re.findall(r"= f32\[([\d,]+)\]\S* convolution\((.*?)\),", text)
    assert len(convolutions) == 3
    assert COLLECTIVE.findall(text) == ["all-reduce"]
    assert not re.search(r"\[(\d+,)*64(,\d+)*\]", text)


@pytest.mark.parametrize("layout", MODES)
def test_placed_arrays_are_copies_on_all_devices(layout):
    layout = MODES[layout]
    original = jnp.arange(6.0)
    placed = layout.replicate({"a": original, "b": np.arange(3)})
    assert all(len(x.devices()) == 8 for x in jax.tree.leaves(placed))
    assert all(x.is_fully_replicated for x in jax.tree.leaves(placed))
    jax.tree.map(lambda x: x.delete(), placed)
    np.testing.assert_array_equal(original, np.arange(6.0))


def test_a_batch_is_divided_in_order():
    batch = np.arange(32).reshape(16, 2)
    under_jit = DeviceLayout().shard_batch(batch)
    parts = [np.array(s.data) for s in under_jit.addressable_shards]
    np.testing.assert_array_equal(parts, batch.reshape(8, 2, 2))
    under_pmap = DeviceLayout("pmap").shard_batch(batch)
    np.testing.assert_array_equal(under_pmap, batch.reshape(8, 2, 2))


def assert_same(actual, expected):
    """Compare the bits of random keys, and numbers but for rounding."""
    for a, b in zip(*map(jax.tree.leaves, (actual, expected)), strict=True):
        assert a.dtype == b.dtype
        if jnp.issubdtype(a.dtype, KEY):
            a, b = map(jax.random.key_data, (a, b))
            np.testing.assert_array_equal(a, b)
        else:
            np.testing.assert_allclose(a, b, rtol=1e-5)


@pytest.mark.parametrize("layout", MODES)
def test_random_keys_in_a_state_survive(layout):
    layout = MODES[layout]
    tx = optax.chain(optax.add_noise(0.1, 0.5, jax.random.key(3)), optax.adam(0.1))
    weights = {"w": jnp.ones((16, 3)), "b": jnp.ones(5)}
    expected = tx.init(weights)
    state = layout.init_opt_state(tx.init, layout.replicate(weights))
    again = layout.replicate(jax.device_get(expected))
    keys = [x for x in jax.tree.leaves(expected) if jnp.issubdtype(x.dtype, KEY)]
    assert keys
    for found in (state, again):
        assert jax.tree.structure(found) == jax.tree.structure(expected)
        assert_same(found, expected)
        assert all(len(x.devices()) == 8 for x in jax.tree.leaves(found))
    _, of_one = tx.update(weights, expected, weights)
    _, of_all = jax.jit(tx.update)(
        layout.replicate(weights), state, layout.replicate(weights)
    )
    assert_same(of_all, of_one)


class Talk:
    """Two processes in one after the other: the second hears what the first said."""

    def __init__(self, monkeypatch):
        self.monkeypatch, self.said = monkeypatch, []
        monkeypatch.setattr(jax, "process_count", lambda: 2)
        monkeypatch.setattr(multihost_utils, "broadcast_one_to_all", self.broadcast)

    def broadcast(self, value):
        if jax.process_index() == 0:
            self.said.append(value)
            return value
        heard = self.said.pop(0)
        assert value.shape == heard.shape
        assert value.dtype == heard.dtype
        return heard

    def of(self, process, function):
        self.monkeypatch.setattr(jax, "process_index", lambda: process)
        return function()


def fail(error):
    raise error


def test_all_agree_on_what_the_first_process_says(monkeypatch):
    assert DeviceLayout().broadcast(7) == 7
    talk = Talk(monkeypatch)
    assert [
        talk.of(i, lambda i=i: DeviceLayout().broadcast(i == 0)) for i in (0, 1)
    ] == [
        1,
        1,
    ]


@pytest.mark.parametrize("text", ["", "runs/Übung-1", "x" * 4096])
def test_only_the_first_process_works_and_all_hear_its_text(monkeypatch, text):
    assert DeviceLayout().run_on_primary(lambda: text) == text
    talk = Talk(monkeypatch)
    assert talk.of(0, lambda: DeviceLayout().run_on_primary(lambda: text)) == text
    unwanted = partial(fail, AssertionError("the second process worked, too"))
    assert talk.of(1, lambda: DeviceLayout().run_on_primary(unwanted)) == text
    assert not talk.said


@pytest.mark.parametrize("error", [UsageError("no such folder"), OSError("disk full")])
def test_what_goes_wrong_in_the_first_process_ends_all(monkeypatch, error):
    talk = Talk(monkeypatch)
    with pytest.raises(type(error), match=str(error)):
        talk.of(0, lambda: DeviceLayout().run_on_primary(partial(fail, error)))
    with pytest.raises(UsageError, match=str(error)):
        talk.of(1, lambda: DeviceLayout().run_on_primary(lambda: "unused"))


@pytest.mark.parametrize("accumulate", [1, 4])
def test_a_batch_that_the_devices_do_not_divide_is_refused(accumulate):
    config = TrainConfig(batch_size=100, accumulate=accumulate)
    with pytest.raises(UsageError, match=f"multiple of {8 * accumulate}.*got 100"):
        setup.validate(config, digits(), DeviceLayout())
