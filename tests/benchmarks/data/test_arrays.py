"""Images of one size are read exactly, or refused in one line."""

import io
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image
from sklearn.datasets import load_digits

from benchmarks import data
from benchmarks.data import arrays, cache
from benchmarks.data.preprocessing import Pixels
from benchmarks.errors import UsageError
from tests.helpers import tiny_images


@pytest.fixture(autouse=True)
def runs(tmp_path, monkeypatch):
    """Keep decoded images out of the project's own folder."""
    monkeypatch.setattr(cache, "RUNS", tmp_path / "runs")
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
    assert (source.train_size, source.test_size) == (40, 20)
    assert (source.input_shape, source.classes) == ((8, 8, 3), 3)
    dataset = source.read()
    for name, split in (("train", dataset.train), ("test", dataset.test)):
        rows = list(tiny_images.SPLITS[name])
        expected = tiny_images.IMAGES[rows], tiny_images.LABELS[rows]
        assert in_order(split) == in_order(expected)
        assert (split.inputs.dtype, split.labels.dtype) == (np.uint8, np.int32)
    scaled = tiny_images.IMAGES[:40] / 255
    pixels = dataset.preprocessing
    np.testing.assert_allclose(pixels.mean, scaled.mean((0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(pixels.std, scaled.std((0, 1, 2)), rtol=1e-12)

    monkeypatch.setattr(arrays, "_decode", None)  # a second time nothing is decoded
    again = data.find("tiny_images", prepared).read()
    np.testing.assert_array_equal(again.train.inputs, dataset.train.inputs)


def test_a_damaged_cache_is_made_anew(prepared, runs):
    expected = data.find("tiny_images", prepared).read()
    (file,) = (runs / ".cache").iterdir()
    file.write_bytes(file.read_bytes()[:1000])
    again = data.find("tiny_images", prepared).read()
    np.testing.assert_array_equal(again.train.inputs, expected.train.inputs)


def test_digits_are_scikit_learns_each_once():
    dataset = data.find("digits", None).read()
    digits: Any = load_digits()
    assert (len(dataset.train.labels), len(dataset.test.labels)) == (1437, 360)
    # 0 to 16 is spread over 0 to 255; back again, all are there.
    images = np.concatenate([dataset.train.inputs, dataset.test.inputs])[..., 0]
    labels = np.concatenate([dataset.train.labels, dataset.test.labels])
    grey = np.round(images * (16 / 255)).astype(int)
    expected = digits.images.astype(int), digits.target
    assert in_order((grey, labels)) == in_order(expected)
    assert min(np.bincount(dataset.test.labels)) >= 34  # each class alike
    assert not dataset.preprocessing.flip


def test_cifar_is_augmented_and_normalised_as_published(prepared):
    builder = tfds.builder("tiny_images", data_dir=prepared)
    assert arrays.find_images("cifar10", builder).read().preprocessing == Pixels(
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2023, 0.1994, 0.2010),
        padding=1,  # an eighth of the side, which are 4 of 32
        flip=True,
    )


def prepare_wrongly(folder, monkeypatch, wrong):
    """Prepare the set with another file for image 7; return its index."""
    encode = tiny_images.encode
    monkeypatch.setattr(tiny_images, "encode", lambda i: wrong if i == 7 else encode(i))
    tiny_images.prepare(folder)
    files = tfds.data_source(
        "tiny_images",
        data_dir=folder,
        split="train",
        decoders={"image": tfds.decode.SkipDecoding()},
    )
    return [example["image"] for example in files].index(wrong)


def test_a_damaged_image_is_named(tmp_path, monkeypatch):
    index = prepare_wrongly(tmp_path, monkeypatch, b"no image")
    source = data.find("tiny_images", tmp_path)
    with pytest.raises(UsageError, match=rf"tiny_images, train\[{index}\] cannot be r"):
        source.read()


def test_an_image_of_another_shape_is_named(tmp_path, monkeypatch):
    png = io.BytesIO()
    Image.new("RGB", (8, 9)).save(png, "png")
    index = prepare_wrongly(tmp_path, monkeypatch, png.getvalue())
    source = data.find("tiny_images", tmp_path)
    with pytest.raises(UsageError, match=rf"tiny_images, train\[{index}\] has the sh"):
        source.read()


def test_a_label_out_of_range_is_named(tmp_path, monkeypatch):
    labels = np.where(np.arange(60) == 50, -1, tiny_images.LABELS)
    monkeypatch.setattr(tiny_images, "LABELS", labels)
    tiny_images.prepare(tmp_path)
    files = tfds.data_source("tiny_images", data_dir=tmp_path, split="test")
    index = [int(example["label"]) for example in files].index(-1)
    message = rf"tiny_images, test\[{index}\] has the label -1, .* \[0, 3\)"
    with pytest.raises(UsageError, match=message):
        data.find("tiny_images", tmp_path).read()
