"""What holds for every network in the table, and how large each is."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax
from jax.extend.core import jaxprs_in_params

from benchmarks import models
from benchmarks.errors import UsageError
from benchmarks.models.initializers import INITIALIZERS, Initializer
from tests.helpers.building import (
    abstract,
    apply,
    build,
    filled,
    inputs,
    parameters,
    size,
    tiny_shape,
)
from tests.marks import fast

SMALL = re.compile("small|lenet|mlp|lstm|logistic|adam-cnn")
every_model = pytest.mark.parametrize(
    "name",
    [
        # The others take the longest to trace.
        pytest.param(name, marks=() if SMALL.search(name) else pytest.mark.slow)
        for name in models.MODELS
    ],
)


@pytest.mark.parametrize(
    ("name", "classes", "published"),
    [
        ("resnet18-imagenet", 1000, 11_689_512),  # these three: torchvision
        pytest.param("resnet50-imagenet", 1000, 25_557_032, marks=pytest.mark.slow),
        ("vgg16-imagenet", 1000, 138_365_992),
        ("resnet18", 10, 11_173_962),  # widely quoted for 32x32
        ("vgg16", 10, 14_728_266),
    ],
)
def test_networks_have_the_published_numbers_of_parameters(name, classes, published):
    side = 224 if "imagenet" in name else 32
    assert size(abstract(name, (side, side, 3), classes)) == published


def conv(side, inputs, outputs):
    """Weights of a convolution without bias, and of the BatchNorm after it."""
    return side * side * inputs * outputs + 2 * outputs


@pytest.mark.parametrize("classes", [10, 100])
def test_wrn_16_4_has_the_parameters_of_its_layers(classes):
    stem = conv(3, 3, 64)
    first = 4 * conv(3, 64, 64)
    second = conv(3, 64, 128) + 3 * conv(3, 128, 128) + conv(1, 64, 128)
    third = conv(3, 128, 256) + 3 * conv(3, 256, 256) + conv(1, 128, 256)
    expected = stem + first + second + third + 256 * classes + classes
    assert size(abstract("wrn16-4", (32, 32, 3), classes)) == expected


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        # LeNet-5 with all channels connected, on images of 32x32 pixels
        (
            "lenet",
            (28, 28, 1),
            6 * (25 + 1) + 16 * (150 + 1) + 120 * 401 + 84 * 121 + 10 * 85,
        ),
        (
            "lenet",
            (32, 32, 3),
            6 * (75 + 1) + 16 * (150 + 1) + 120 * 401 + 84 * 121 + 10 * 85,
        ),
        ("mlp", (28, 28, 1), 100 * (784 + 1) + 10 * (100 + 1)),
        ("mlp-3", (28, 28, 1), 1000 * 785 + 1000 * 1001 + 10 * 1001),
        ("mlp-5", (28, 28, 1), 100 * 785 + 3 * 100 * 101 + 10 * 101),
        ("logistic", (28, 28, 1), 10 * (784 + 1)),
        (  # 32x32 pixels are halved three times
            "adam-cnn",
            (32, 32, 3),
            64 * 76 + 64 * 1601 + 128 * 1601 + 1000 * (16 * 128 + 1) + 10 * 1001,
        ),
    ],
)
def test_small_networks_have_the_parameters_of_their_layers(name, shape, expected):
    assert size(abstract(name, shape)) == expected


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_language_models_have_the_parameters_of_their_layers(depth):
    h, vocabulary = 128, 65
    layer = 4 * (h * h + h * h + h)
    expected = vocabulary * h + depth * layer + h * vocabulary + vocabulary
    assert size(abstract(f"lstm-{depth}", (50,), vocabulary)) == expected


def dtypes(model):
    numbers = nnx.state(model, (nnx.Param, nnx.BatchStat))
    return {leaf.dtype.name for leaf in jax.tree.leaves(numbers)}


@every_model
@pytest.mark.parametrize("dtype", fast([jnp.float32, jnp.bfloat16], jnp.bfloat16))
def test_logits_and_parameters_are_float32_whatever_the_dtype(name, dtype):
    model = nnx.eval_shape(lambda: build(name, dtype=dtype))
    assert dtypes(model) == {"float32"}
    x = jax.eval_shape(lambda: inputs(name, n=3))
    logits, after = nnx.eval_shape(lambda m, x: (m(x), m), model, x)
    leading = (3,) if models.lookup(name).takes == "images" else (3, *tiny_shape(name))
    assert (logits.shape, logits.dtype) == ((*leading, 10), jnp.float32)
    assert dtypes(after) == {"float32"}


@pytest.mark.parametrize("name", fast(["vgg-small", "mlp", "lstm-1"], "mlp", "lstm-1"))
def test_logits_in_bfloat16_are_close_to_those_in_float32(name):
    x = inputs(name, n=16)
    exact, rounded = (
        apply(filled(lambda dtype=dtype: build(name, dtype=dtype)), x)
        for dtype in (jnp.float32, jnp.bfloat16)
    )
    error = jnp.linalg.norm(rounded - exact) / jnp.linalg.norm(exact)
    assert 1e-4 < error < 0.1


@every_model
def test_layers_compute_in_bfloat16(name):
    model = nnx.eval_shape(lambda: build(name, dtype=jnp.bfloat16))
    graph, state = nnx.split(model)
    program = jax.make_jaxpr(lambda state, x: nnx.merge(graph, state)(x))(
        state, jax.eval_shape(lambda: inputs(name))
    )
    *others, last = dtypes_of_products(program.jaxpr)
    assert last == jnp.float32
    assert set(others) == (set() if name == "logistic" else {jnp.bfloat16.dtype})


def dtypes_of_products(jaxpr):
    """Dtypes of all convolutions and matrix products, in order."""
    for equation in jaxpr.eqns:
        if equation.primitive in (lax.conv_general_dilated_p, lax.dot_general_p):
            yield equation.outvars[0].aval.dtype
        for inner in jaxprs_in_params(equation.params):
            yield from dtypes_of_products(inner)


@pytest.mark.parametrize(
    ("name", "conv", "dense"),
    [
        ("vgg-small", "he-normal", "lecun-normal"),
        ("vgg16", "torch", "torch"),
        ("resnet18", "torch", "torch"),
        ("wrn16-4", "he-normal-fan-out", "torch"),
        ("resnet18-imagenet", "he-normal-fan-out", "torch"),
        ("resnet50-imagenet", "he-normal-fan-out", "torch"),
        ("vgg16-imagenet", "he-normal-fan-out", "gaussian"),
        ("lenet", "torch", "torch"),
        ("mlp", None, "torch"),
        ("logistic", None, "torch"),
        ("lstm-1", None, "torch"),
        ("lstm-2", None, "torch"),
        ("lstm-3", None, "torch"),
    ],
)
def test_weights_begin_as_published(name, conv, dense, monkeypatch):
    marks = {key: float(number) for number, key in enumerate(INITIALIZERS, 1)}
    for key, mark in marks.items():
        constant = nnx.initializers.constant(mark)
        monkeypatch.setitem(INITIALIZERS, key, Initializer(constant, ""))
    for path, value in parameters(build(name)):
        if "kernel" in path:
            expected = marks[conv if value.ndim == 4 else dense]
            np.testing.assert_array_equal(value, expected, err_msg=path)


@every_model
def test_a_named_initializer_takes_the_place_of_every_other(name, monkeypatch):
    constant = nnx.initializers.constant
    mark = Initializer(constant(7.0), "", lambda fan_in: constant(3.0))
    monkeypatch.setitem(INITIALIZERS, "mark", mark)
    for path, value in parameters(build(name, initializer="mark")):
        if "embedding" in path:
            continue
        is_norm = "norm" in path
        kind = path.split(".")[-1]
        expected = {"kernel": 7, "bias": 0 if is_norm else 3, "scale": 1}[kind]
        np.testing.assert_array_equal(value, expected, err_msg=path)


@pytest.mark.parametrize("name", ["mlp", "lstm-1"])
def test_a_seed_determines_the_weights(name):
    a, b, other = (dict(parameters(build(name, seed=seed))) for seed in (1, 1, 2))
    for path in a:
        np.testing.assert_array_equal(a[path], b[path])
        if "kernel" in path:
            assert not np.array_equal(a[path], other[path]), path


def test_an_unknown_network_lists_what_exists():
    with pytest.raises(UsageError, match="--model 'vgg' does not exist.*vgg-small"):
        models.lookup("vgg")
