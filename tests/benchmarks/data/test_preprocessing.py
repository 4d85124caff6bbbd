import operator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.data.preprocessing import Draws, Pixels, Tokens

# With this mean and deviation the network's inputs are the pixels' own values.
PLAIN = {"mean": (0.0,) * 3, "std": (1 / 255,) * 3}


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (50, 6, 5, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("padding", "flip"), [(2, True), (2, False), (0, True), (0, False)]
)
def test_each_image_is_the_drawn_window_of_the_padded_one(images, padding, flip):
    pixels = Pixels(**PLAIN, padding=padding, flip=flip)
    draws: Any = pixels.draw(jax.random.key(1), (50,))
    result = np.asarray(jax.jit(pixels.train)(images, draws))
    assert result.dtype == np.float32
    padded = np.pad(images, ((0, 0), (padding,) * 2, (padding,) * 2, (0, 0)))
    for i in range(50):
        top, left = (int(draws.top[i]), int(draws.left[i])) if padding else (0, 0)
        expected = padded[i, top : top + 6, left : left + 5]
        if flip and draws.mirrored[i]:
            expected = expected[:, ::-1]
        np.testing.assert_allclose(result[i], expected, rtol=1e-6)


def test_without_shift_or_mirror_nothing_changes(images):
    at = jnp.full(50, 4)
    draws = Draws(at, at, jnp.zeros(50, bool))
    same = Pixels(**PLAIN, padding=4, flip=True).train(images, draws)
    np.testing.assert_allclose(same, images, rtol=1e-6)


def test_draws_reach_every_shift_and_half_are_mirrored():
    pixels = Pixels(**PLAIN, padding=4, flip=True)
    draws: Any = pixels.draw(jax.random.key(0), (200, 50))
    assert draws.top.shape == (200, 50)
    for shifts in (draws.top, draws.left):
        counts = np.bincount(np.ravel(shifts), minlength=9)
        assert len(counts) == 9
        # 10,000 draws of 9 values: six standard deviations are 189.
        np.testing.assert_allclose(counts, 10_000 / 9, atol=189)
    assert abs(float(draws.mirrored.mean(dtype=jnp.float32)) - 0.5) < 0.03
    assert abs(np.corrcoef(np.ravel(draws.top), np.ravel(draws.left))[0, 1]) < 0.06


def test_only_what_is_needed_is_drawn():
    key = jax.random.key(0)
    assert Pixels(**PLAIN, padding=4, flip=False).draw(key, (7,)).mirrored is None
    assert Pixels(**PLAIN, padding=0, flip=True).draw(key, (7,)).top is None


def test_normalised_images_have_mean_0_and_deviation_1(images):
    scaled = images / 255
    mean, std = scaled.mean((0, 1, 2)), scaled.std((0, 1, 2))
    pixels = Pixels(tuple(mean), tuple(std), padding=0, flip=False)
    result = pixels.test(jnp.asarray(images))
    assert result.dtype == jnp.float32
    np.testing.assert_allclose(result, (scaled - mean) / std, rtol=1e-5, atol=1e-6)


def test_without_augmentation_training_images_are_as_those_of_the_test(images):
    pixels = Pixels((0.4, 0.5, 0.6), (0.2, 0.3, 0.1), padding=2, flip=True)
    bare = pixels.without_augmentation()
    draws = bare.draw(jax.random.key(0), (50,))
    np.testing.assert_array_equal(bare.train(images, draws), pixels.test(images))
    assert not np.array_equal(
        pixels.train(images, pixels.draw(jax.random.key(0), (50,))), pixels.test(images)
    )


@pytest.mark.parametrize(
    ("preprocessing", "shape"),
    [
        (Pixels(**PLAIN, padding=2, flip=True), (8, 8, 3)),
        (Pixels(**PLAIN, padding=0, flip=False), (8, 8, 3)),
        (Tokens(), (16,)),
    ],
)
def test_draws_are_scanned_with_the_batches(preprocessing, shape):
    rng = np.random.default_rng(0)
    inputs = rng.integers(0, 256, (4, 3, *shape), dtype=np.uint8)
    draws = preprocessing.draw(jax.random.key(0), inputs.shape[:2])

    def body(carry, batch):
        return carry, preprocessing.train(*batch)

    _, scanned = jax.jit(lambda xs: jax.lax.scan(body, 0, xs))((inputs, draws))
    for step, batch in enumerate(inputs):
        choice = jax.tree.map(operator.itemgetter(step), draws)
        expected = preprocessing.train(batch, choice)
        np.testing.assert_allclose(scanned[step], expected, rtol=1e-6)


def test_tokens_are_numbered_as_they_are():
    tokens = np.arange(256, dtype=np.uint8).reshape(2, 128)
    draws = Tokens().draw(jax.random.key(0), (2,))
    assert jax.tree.leaves(draws) == []
    for result in (Tokens().train(tokens, draws), Tokens().test(tokens)):
        assert result.dtype == jnp.int32
        np.testing.assert_array_equal(result, tokens)
