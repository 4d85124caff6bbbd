"""Data sets are read exactly, or refused in one line that says what to do."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from benchmarks import data
from benchmarks.config import UsageError
from tests.benchmarks import tiny_images


@pytest.fixture(autouse=True)
def runs(tmp_path, monkeypatch):
    """Keep decoded images out of the project's own folder."""
    monkeypatch.setattr(data, "RUNS", tmp_path / "runs")
    return tmp_path / "runs"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tfds")
    tiny_images.prepare(folder)
    return folder


def in_order(split):
    """Sort examples by their pixels: TFDS shuffles when it prepares."""
    rows = [(image.tobytes(), int(label)) for image, label in zip(*split, strict=True)]
    return sorted(rows)


def test_a_prepared_set_is_read_exactly_and_then_from_the_cache(prepared, monkeypatch):
    source = data.find("tiny_images", prepared)
    assert (source.train_size, source.image_shape, source.classes) == (40, (8, 8, 3), 3)
    dataset = source.read()
    for name, split in (("train", dataset.train), ("test", dataset.test)):
        rows = list(tiny_images.SPLITS[name])
        expected = tiny_images.IMAGES[rows], tiny_images.LABELS[rows]
        assert in_order(split) == in_order(expected)
        assert (split.images.dtype, split.labels.dtype) == (np.uint8, np.int32)
    scaled = tiny_images.IMAGES[:40] / 255
    np.testing.assert_allclose(dataset.mean, scaled.mean((0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(dataset.std, scaled.std((0, 1, 2)), rtol=1e-12)

    monkeypatch.setattr(data, "_decode", None)  # a second time nothing is decoded
    again = data.find("tiny_images", prepared).read()
    np.testing.assert_array_equal(again.train.images, dataset.train.images)


def test_a_damaged_cache_is_made_anew(prepared, runs):
    expected = data.find("tiny_images", prepared).read()
    (file,) = (runs / ".cache").iterdir()
    file.write_bytes(file.read_bytes()[:1000])
    again = data.find("tiny_images", prepared).read()
    np.testing.assert_array_equal(again.train.images, expected.train.images)


def test_digits_are_scikit_learns_each_once():
    dataset = data.find("digits", None).read()
    digits = load_digits()
    assert (len(dataset.train.labels), len(dataset.test.labels)) == (1437, 360)
    # 0 to 16 is spread over 0 to 255; back again, all are there.
    images = np.concatenate([dataset.train.images, dataset.test.images])[..., 0]
    labels = np.concatenate([dataset.train.labels, dataset.test.labels])
    grey = np.round(images * (16 / 255)).astype(int)
    expected = digits.images.astype(int), digits.target
    assert in_order((grey, labels)) == in_order(expected)
    assert min(np.bincount(dataset.test.labels)) >= 34  # each class alike
    assert not dataset.flip


def test_cifar_is_augmented_and_normalised_as_published():
    assert data._PUBLISHED["cifar10"] == (
        (0.4914, 0.4822, 0.4465),
        (0.2023, 0.1994, 0.2010),
    )
    splits = data.Split(np.zeros((1, 32, 32, 3), np.uint8), np.zeros(1, np.int32))
    source = data.Source("cifar10", 1, (32, 32, 3), 10, lambda: (splits, splits))
    dataset = source.read()
    assert (dataset.padding, dataset.flip) == (4, True)
    assert dataset.mean == (0.4914, 0.4822, 0.4465)


def test_a_label_out_of_range_is_refused():
    images = np.zeros((2, 8, 8, 1), np.uint8)
    splits = data.Split(images, np.array([0, 7], np.int32))
    source = data.Source("odd", 2, (8, 8, 1), 3, lambda: (splits, splits))
    with pytest.raises(UsageError, match=r"odd has the label 7.*\[0, 3\)"):
        source.read()


def test_a_set_that_is_not_prepared_names_folder_and_command(tmp_path):
    with pytest.raises(UsageError, match="cifar10 is not prepared: searched .*cifar10"):
        data.find("cifar10", tmp_path)
    with pytest.raises(UsageError, match="tfds build cifar10 --file_format=array_rec"):
        data.find("cifar10", tmp_path)


def test_an_unknown_set_lists_the_usual_ones(tmp_path):
    with pytest.raises(UsageError, match="'cifar11' does not exist.*cifar10, cifar100"):
        data.find("cifar11", tmp_path)


def test_digits_need_no_folder(tmp_path):
    with pytest.raises(UsageError, match="--data-dir has no use with --dataset digits"):
        data.find("digits", tmp_path)
