import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.augmentation import Draws, augment, draw, normalise


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (50, 6, 5, 3), dtype=np.uint8)


@pytest.mark.parametrize(("padding", "flip"), [(2, True), (2, False), (0, True)])
def test_each_image_is_the_drawn_window_of_the_padded_one(images, padding, flip):
    draws = draw(jax.random.key(1), (50,), padding, flip)
    result = np.asarray(augment(jnp.asarray(images), draws, padding))
    assert result.dtype == np.uint8
    margin = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    padded = np.pad(images, margin)
    for i in range(50):
        top, left = int(draws.top[i]), int(draws.left[i])
        window = padded[i, top : top + 6, left : left + 5]
        expected = window[:, ::-1] if draws.mirrored[i] else window
        np.testing.assert_array_equal(result[i], expected)


def test_without_shift_or_mirror_nothing_changes(images):
    at = jnp.full(50, 4)
    same = augment(jnp.asarray(images), Draws(at, at, jnp.zeros(50, bool)), padding=4)
    np.testing.assert_array_equal(same, images)


def test_draws_reach_every_shift_and_half_are_mirrored():
    draws = draw(jax.random.key(0), (200, 50), padding=4, flip=True)
    assert draws.top.shape == (200, 50)
    for shifts in (draws.top, draws.left):
        counts = np.bincount(np.ravel(shifts), minlength=9)
        assert len(counts) == 9
        # 10,000 draws of 9 values: six standard deviations are 189.
        np.testing.assert_allclose(counts, 10_000 / 9, atol=189)
    assert abs(float(draws.mirrored.mean(dtype=jnp.float32)) - 0.5) < 0.03
    assert abs(np.corrcoef(np.ravel(draws.top), np.ravel(draws.left))[0, 1]) < 0.06


def test_no_image_is_mirrored_unless_asked():
    assert not draw(jax.random.key(0), (1000,), padding=4, flip=False).mirrored.any()


def test_normalised_images_have_mean_0_and_deviation_1(images):
    scaled = images / 255
    mean, std = scaled.mean((0, 1, 2)), scaled.std((0, 1, 2))
    result = normalise(jnp.asarray(images), tuple(mean), tuple(std))
    assert result.dtype == jnp.float32
    np.testing.assert_allclose(result, (scaled - mean) / std, rtol=1e-5, atol=1e-6)
