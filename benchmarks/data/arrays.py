"""Data sets of images and labels as uint8 arrays; the only user of TFDS.

TensorFlow is never imported: TFDS reads its array_record files without it. Images are
decoded once and kept under runs/, because decoding costs more than an epoch's reading.
"""

import hashlib
import os
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from benchmarks.config import RUNS, UsageError

# Usual names; TFDS has more, and any with images and labels will do.
NAMES = ("digits", "cifar10", "cifar100", "mnist", "fashion_mnist", "svhn_cropped")

# Mean and standard deviation of each channel as the paper's authors set them. Other
# sets are measured.
_PUBLISHED = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "cifar100": ((0.507, 0.487, 0.441), (0.267, 0.256, 0.276)),
}
# Sets whose images mean the same in a mirror. Digits do not.
_MIRRORED = ("cifar10", "cifar100")


class Split(NamedTuple):
    """Images (n, height, width, channels) as uint8 and their labels (n,) as int32."""

    images: Any
    labels: Any


@dataclass(frozen=True)
class Dataset:
    """A data set in memory, with what its augmentation and normalisation need.

    Attributes:
      train: The training split.
      test: The test split.
      mean: Of each channel over the training set, on the scale from 0 to 1.
      std: The standard deviation of each channel, likewise.
      padding: Pixels by which augmentation may shift an image.
      flip: Whether augmentation may mirror an image.
    """

    train: Split
    test: Split
    mean: tuple[float, ...]
    std: tuple[float, ...]
    padding: int
    flip: bool


@dataclass(frozen=True)
class Source:
    """A data set that was found but not read yet.

    Attributes:
      name: Its name on the command line.
      train_size: Number of training images.
      image_shape: Height, width and channels.
      classes: Number of classes.
      read_splits: Reads the training and the test split.
    """

    name: str
    train_size: int
    image_shape: tuple[int, int, int]
    classes: int
    read_splits: Callable[[], tuple[Split, Split]]

    def read(self) -> Dataset:
        """Read the images into memory and measure what is not published."""
        train, test = self.read_splits()
        for split in (train, test):
            wrong = split.labels[(split.labels < 0) | (split.labels >= self.classes)]
            if wrong.size:
                raise UsageError(
                    f"--dataset {self.name} has the label {wrong[0]}, but labels must "
                    f"be in [0, {self.classes}); prepare it again."
                )
        mean, std = _PUBLISHED.get(self.name) or _statistics(train.images)
        # The paper shifts images of 32 pixels by up to 4.
        padding = self.image_shape[0] // 8
        return Dataset(train, test, mean, std, padding, self.name in _MIRRORED)


def find(name: str, data_dir: Path | None) -> Source:
    """Find a data set without reading its images.

    Args:
      name: "digits" or the name of a TFDS builder.
      data_dir: Where TFDS looks; None for its default.

    Returns:
      The source.

    Raises:
      UsageError: If the set does not exist, is not prepared, or holds something else
        than images of one size with labels.
    """
    if name == "digits":
        if data_dir is not None:
            raise UsageError(
                "--data-dir has no use with --dataset digits, which comes with "
                "scikit-learn; leave it out or name another data set."
            )
        return _find_digits()
    return _find_tfds(name, data_dir)


def _find_digits() -> Source:
    """Scikit-learn's 1,797 scanned digits, a fifth of each class kept for the test."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    # 17 grey levels, 0 to 16, spread over the range of a byte.
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)[..., None]
    labels = digits.target.astype(np.int32)
    train_images, test_images, train_labels, test_labels = train_test_split(
        images, labels, test_size=360, stratify=labels, random_state=0
    )
    splits = Split(train_images, train_labels), Split(test_images, test_labels)
    return Source("digits", len(train_labels), images.shape[1:], 10, lambda: splits)


def _find_tfds(name: str, data_dir: Path | None) -> Source:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tensorflow_datasets as tfds
    from absl import logging

    logging.set_verbosity(logging.ERROR)  # TFDS warns of what is checked below

    searched = data_dir or Path(tfds.core.constants.DATA_DIR)
    prepare = (
        f"`tfds build {name} --file_format=array_record --data_dir=DIR` prepares it "
        "where TensorFlow is installed; then give --data-dir DIR."
    )
    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except tfds.core.DatasetNotFoundError as error:
        raise UsageError(
            f"--dataset {name!r} does not exist: neither prepared in {searched} nor "
            f"known to TFDS; try {', '.join(NAMES)}, or any other TFDS builder of "
            "images and labels."
        ) from error
    except ValueError as error:
        raise UsageError(
            f"--dataset {name!r} is no name of a TFDS builder; try {', '.join(NAMES)}."
        ) from error
    if not builder.is_prepared():
        raise UsageError(
            f"--dataset {name} is not prepared: searched {builder.data_path}. {prepare}"
        )
    if builder.info.file_format != tfds.core.FileFormat.ARRAY_RECORD:
        raise UsageError(
            f"--dataset {name} in {builder.data_path} is in the "
            f"{builder.info.file_format.value} format, which only TensorFlow reads. "
            f"{prepare}"
        )
    features, splits = builder.info.features, builder.info.splits
    named = isinstance(features, tfds.features.FeaturesDict)
    feature = dict(features.items()) if named else {}
    image, label = feature.get("image"), feature.get("label")
    if not (
        isinstance(image, tfds.features.Image)
        and isinstance(label, tfds.features.ClassLabel)
        and None not in image.shape
        and image.np_dtype == np.uint8
        and {"train", "test"} <= set(splits)
    ):
        raise UsageError(
            f"--dataset {name} does not hold 8-bit images of one size with labels, "
            f"split into train and test; try {', '.join(NAMES)}."
        )

    def read_splits() -> tuple[Split, Split]:
        def decode() -> dict[str, np.ndarray]:
            arrays = {}
            for split in ("train", "test"):
                source = builder.as_data_source(split=split)
                images, labels = _decode(source, image.shape, f"decode {split}")
                arrays |= {f"{split}_images": images, f"{split}_labels": labels}
            return arrays

        arrays = _cached(f"{name}-{_fingerprint(Path(builder.data_path))}", decode)
        train, test = (
            Split(arrays[f"{split}_images"], arrays[f"{split}_labels"])
            for split in ("train", "test")
        )
        return train, test

    return Source(
        name, splits["train"].num_examples, image.shape, label.num_classes, read_splits
    )


def _decode(
    source: Any, shape: tuple[int, ...], title: str
) -> tuple[np.ndarray, np.ndarray]:
    """Read every example of a data source into two arrays, in its order."""
    images = np.empty((len(source), *shape), np.uint8)
    labels = np.empty(len(source), np.int32)
    with tqdm(total=len(source), desc=title, unit="image", disable=None) as bar:
        for start in range(0, len(source), 1000):
            wanted = range(start, min(start + 1000, len(source)))
            for i, example in zip(wanted, source.__getitems__(wanted), strict=True):
                images[i] = example["image"]
                labels[i] = example["label"]
            bar.update(len(wanted))
    return images, labels


def _fingerprint(folder: Path) -> str:
    """Hash the place, names, sizes and dates of a prepared data set's files."""
    files = sorted(
        (file.name, file.stat().st_size, file.stat().st_mtime_ns)
        for file in folder.iterdir()
    )
    return hashlib.sha256(repr((folder.resolve(), files)).encode()).hexdigest()[:16]


def _cached(
    key: str, decode: Callable[[], dict[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """Return the arrays kept under a key, or decode and keep them.

    The file appears under its name only when it is whole. Where nothing can be written
    the arrays are decoded each time.
    """
    path = RUNS / ".cache" / f"{key}.npz"
    try:
        with np.load(path) as stored:
            return dict(stored)
    except (OSError, ValueError, zipfile.BadZipFile):
        arrays = decode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".partial")
        try:
            with os.fdopen(handle, "wb") as file:
                np.savez(file, **arrays)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        warnings.warn(f"decoded images are not kept: {error}", stacklevel=2)
    return arrays


def _statistics(images: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Measure mean and deviation of each channel, from counts of the 256 values."""
    levels = np.arange(256) / 255
    means, deviations = [], []
    for channel in range(images.shape[-1]):
        counts = np.bincount(images[..., channel].ravel(), minlength=256)
        mean = np.average(levels, weights=counts)
        means.append(float(mean))
        variance = np.average((levels - mean) ** 2, weights=counts)
        deviations.append(float(np.sqrt(variance)) or 1.0)  # 1 where all is one colour
    return tuple(means), tuple(deviations)
