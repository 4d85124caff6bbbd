"""Two networks against each other."""

import jax
import numpy as np
import pytest
from flax import nnx

from benchmarks.gan.compare import Images, Judge
from benchmarks.gan.config import GanConfig
from benchmarks.gan.duel import Duel, make_optimizer
from benchmarks.gan.networks import LATENT, Discriminator, Generator

pytestmark = pytest.mark.usefixtures("standard_promotion")

CONFIG = GanConfig(steps=4, evaluations=2, batch_size=8, examples=100)
REAL = np.random.default_rng(0).uniform(size=(40, 28, 28, 1)).astype(np.float32)


@pytest.fixture(scope="module")
def duel():
    with jax.numpy_dtype_promotion("standard"):
        yield Duel("adam", jax.numpy.asarray(REAL), CONFIG)


def leaves(player):
    return [np.asarray(x) for x in jax.tree.leaves(player.params)]


@pytest.mark.slow
def test_a_run_is_measured_before_the_first_step_and_evenly(duel):
    seen = []

    def measure(images):
        seen.append(images)
        return float(len(seen))

    found = duel.run(1e-3, 0, measure)
    assert found["step"] == [0, 2, 4]
    assert found["distance"] == [1.0, 2.0, 3.0]
    assert len(found["generator_loss"]) == len(found["discriminator_loss"]) == 2
    assert found["stopped"] is None
    for images in seen:
        assert images.shape == (100, 28, 28, 1)
        assert 0 <= images.min() < images.max() <= 1
        assert images.std(axis=0).max() > 0  # they are not all the same
    assert not np.array_equal(seen[0], seen[2])


def test_the_seed_decides_everything(duel):
    def summarize(seed):
        found = duel.run(1e-3, seed, lambda x: float(np.mean(x)))
        return found["distance"], found["generator_loss"]

    first = summarize(0)
    assert summarize(0) == first
    other = summarize(1)
    assert other[0][0] != first[0][0]
    assert other[1] != first[1]


def test_each_network_goes_down_its_own_loss(duel):
    """With sgd and a tiny rate a step moves each network against its own gradient."""
    sgd = Duel("momentum", duel.images, CONFIG)
    before = sgd.start(0)
    kept = [leaves(player) for player in before]
    key = jax.random.key(3)
    rate = 1e-3
    after, (g_loss, d_loss) = sgd.step(before, rate, key)

    # The same by hand, from the networks alone.
    generator, discriminator = Generator(nnx.Rngs(0)), Discriminator(nnx.Rngs(1))
    real_key, *noise = jax.random.split(key, 3)
    real = REAL[np.asarray(jax.random.randint(real_key, (8,), 0, 40))]
    first, second = (jax.random.normal(k, (8, LATENT)) for k in noise)

    def log1pexp(x):
        return jax.numpy.log1p(jax.numpy.exp(x)).mean()

    def d_objective(network):
        return log1pexp(-network(real)) + log1pexp(network(generator(first)))

    value, gradient = nnx.value_and_grad(d_objective)(discriminator)
    np.testing.assert_allclose(d_loss, value, rtol=1e-5)
    moved = [
        x - rate * np.asarray(g)
        for x, g in zip(kept[1], jax.tree.leaves(gradient), strict=True)
    ]
    for found, expected in zip(leaves(after[1]), moved, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)

    # The generator moves after the discriminator has, against its new parameters.
    state = nnx.state(discriminator)
    treedef = jax.tree.structure(state)
    nnx.update(discriminator, jax.tree.unflatten(treedef, moved))
    value, gradient = nnx.value_and_grad(
        lambda network: log1pexp(-discriminator(network(second)))
    )(generator)
    np.testing.assert_allclose(g_loss, value, rtol=1e-5)
    for found, x, g in zip(
        leaves(after[0]), kept[0], jax.tree.leaves(gradient), strict=True
    ):
        np.testing.assert_allclose(
            found, x - rate * np.asarray(g), rtol=1e-5, atol=1e-7
        )


# What is left of the first step after the gradients 1 and 0: of SGD's momentum a half.
# The others divide m, 1/4 after 1/2, by 1 - 1/2^t and by the root of v/(1 - b2^t), 1 at
# first. v is 1 - b2 at first and b2 of that then, but not under a maximum.
@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("momentum", 1 / 2),
        ("adam", (1 / 4 / (3 / 4)) / ((0.99 * 0.01 / (1 - 0.99**2)) ** 0.5)),
        ("padam-p0.5", (1 / 4 / (3 / 4)) / ((0.001 / (1 - 0.999**2)) ** 0.5)),
    ],
)
def test_the_momentum_is_that_of_the_settings(name, left):
    tx = make_optimizer(name, 1.0, 0.5)
    first, state = tx.update(np.ones(1, np.float32), tx.init(np.zeros(1, np.float32)))
    second, _ = tx.update(np.zeros(1, np.float32), state)
    np.testing.assert_allclose(second / first, left, rtol=1e-4)


def test_a_run_ends_at_images_or_losses_that_are_not_finite(duel):
    distances = iter([3.0, float("nan")])
    found = duel.run(1e-3, 0, lambda x: next(distances))
    assert found["distance"] == [3.0]
    assert "not finite after step 2" in found["stopped"]
    found = duel.run(float("inf"), 0, lambda x: 3.0)
    assert found["distance"] == [3.0]
    assert "not finite" in found["stopped"]


def test_distances_are_to_validation_images_first_and_to_test_images_then():
    images = Images(REAL, REAL[:20], 0.5 * REAL[:20])
    judge = Judge(lambda x: np.reshape(x, (len(x), -1))[:, :5], images, 20)
    assert judge.measure("tuning", REAL[:20]) == pytest.approx(0, abs=1e-6)
    assert judge.measure("final", 0.5 * REAL[:20]) == pytest.approx(0, abs=1e-6)
    assert judge.measure("final", REAL[:20]) > 0.1
    assert np.isnan(judge.measure("final", REAL[:20] * np.nan))
