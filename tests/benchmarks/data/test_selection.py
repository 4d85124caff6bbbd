"""A part of a data set is the part that the options say, fixed and balanced."""

import numpy as np
import pytest

from benchmarks import data
from benchmarks.data import selection
from benchmarks.data.preprocessing import Pixels
from benchmarks.errors import UsageError
from benchmarks.training.config import TrainConfig
from tests.helpers import tiny_imagenet, tiny_text


def find(**options):
    """Find digits with options, and read them."""
    source = data.find_for(TrainConfig(**options))
    return source, source.read()


def test_a_subset_has_the_first_of_each_class_and_the_next_ones_validate():
    whole = data.find("digits", None).read().train
    source, found = find(examples=30, validate=True)
    assert (source.train_size, source.test_size) == (30, 30)
    firsts = {c: np.flatnonzero(whole.labels == c)[:6] for c in range(10)}
    for split, part in ((found.train, slice(0, 3)), (found.test, slice(3, 6))):
        wanted = np.sort(np.concatenate([rows[part] for rows in firsts.values()]))
        np.testing.assert_array_equal(split.inputs, whole.inputs[wanted])
        np.testing.assert_array_equal(split.labels, whole.labels[wanted])


def test_a_subset_keeps_the_test_set():
    whole = data.find("digits", None).read()
    source, found = find(examples=30)
    assert (source.train_size, source.test_size) == (30, 360)
    np.testing.assert_array_equal(found.test.inputs, whole.test.inputs)


def test_the_last_tenth_validates_without_examples():
    whole = data.find("digits", None).read().train
    source, found = find(validate=True)
    assert (source.train_size, source.test_size) == (1437 - 143, 143)
    np.testing.assert_array_equal(found.train.inputs, whole.inputs[:-143])
    np.testing.assert_array_equal(found.test.inputs, whole.inputs[-143:])
    np.testing.assert_array_equal(found.test.labels, whole.labels[-143:])


def test_the_last_tenth_of_a_text_validates(tmp_path, monkeypatch):
    monkeypatch.setitem(tiny_text.TEXTS, "train", tiny_text.TEXTS["train"] * 6)
    tiny_text.prepare(tmp_path)
    settings = {"dataset": "tiny_text", "data_dir": tmp_path}
    whole = data.find("tiny_text", tmp_path).read().train
    source, found = find(**settings, validate=True)
    held_out = len(whole.labels) // 10
    assert held_out > 0
    assert source.test_size == held_out
    np.testing.assert_array_equal(found.test.labels, whole.labels[-held_out:])
    np.testing.assert_array_equal(found.train.labels, whole.labels[:-held_out])
    for option, value in (("examples", 10), ("side", 4), ("label_noise", 0.1)):
        name = option.replace("_", "-")
        with pytest.raises(UsageError, match=f"--{name} is for images.*tiny_text"):
            find(**settings, **{option: value})


def test_means_over_blocks_are_rounded():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 6, 6, 2), dtype=np.uint8)
    pooled = selection.pool(images, 3)
    assert (pooled.shape, pooled.dtype) == ((3, 2, 2, 2), np.uint8)
    for n, i, j, c in np.ndindex(pooled.shape):
        block = images[n, 3 * i : 3 * i + 3, 3 * j : 3 * j + 3, c]
        assert pooled[n, i, j, c] == round(int(block.sum()) / 9)


def test_side_reduces_both_splits_and_the_shift():
    whole = data.find("digits", None).read()
    source, found = find(side=4)
    assert source.input_shape == (4, 4, 1)
    for split, original in ((found.train, whole.train), (found.test, whole.test)):
        np.testing.assert_array_equal(split.inputs, selection.pool(original.inputs, 2))
    assert whole.preprocessing.padding == 1
    assert found.preprocessing == Pixels(
        whole.preprocessing.mean, whole.preprocessing.std, padding=0, flip=False
    )


def test_label_noise_is_fixed_and_spares_what_is_evaluated():
    plain, noisy, again = (
        find(examples=100, validate=True, label_noise=noise, seed=seed)[1]
        for noise, seed in ((0.0, 0), (0.3, 0), (0.3, 1))
    )
    changed = noisy.train.labels != plain.train.labels
    assert changed.sum() == 30
    assert set(noisy.train.labels) <= set(range(10))
    assert len(set((noisy.train.labels - plain.train.labels)[changed] % 10)) > 3
    np.testing.assert_array_equal(noisy.train.labels, again.train.labels)
    np.testing.assert_array_equal(noisy.train.inputs, plain.train.inputs)
    np.testing.assert_array_equal(noisy.test.labels, plain.test.labels)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"examples": 15}, "--examples must be a multiple of the 10 .*, got 15"),
        ({"examples": 1440}, "--examples .* at most 1430.* digits, got 1440"),
        ({"examples": 720, "validate": True}, "at most 710.* --validate, got 720"),
        ({"examples": 1430}, "--examples must be at most 1390 .*smallest.* got 1430"),
        ({"examples": 0}, "--examples must be at least 1, got 0"),
        ({"side": 3}, "--side must divide .*8x8.*, got 3; choose from 1, 2, 4, 8"),
        ({"side": 16}, "--side must divide .*, got 16"),
        ({"label_noise": 1.5}, r"--label-noise must be in \[0, 1\], got 1.5"),
        ({"label_noise": float("nan")}, "--label-noise .* got nan"),
    ],
)
def test_what_a_data_set_cannot_give_is_refused(options, message):
    with pytest.raises(UsageError, match=message):
        find(**options)


@pytest.mark.parametrize(
    "option", [{"examples": 3}, {"validate": True}, {"side": 2}, {"label_noise": 0.1}]
)
def test_a_stream_refuses_them_all(tmp_path, option):
    tiny_imagenet.prepare(tmp_path)
    name = next(iter(option)).replace("_", "-")
    with pytest.raises(UsageError, match=f"--{name} needs .* memory, but imagenet2012"):
        find(dataset="imagenet2012", data_dir=tmp_path, **option)
