"""Subset, validation set, smaller images and label noise."""

import dataclasses

import numpy as np

from benchmarks.data.load import find
from benchmarks.data.preprocessing import Pixels
from benchmarks.data.types import Dataset, Source, Split
from benchmarks.errors import UsageError
from benchmarks.training.config import TrainConfig

# Wrong labels are the same for every seed of a run.
_NOISE_SEED = 0
# Without --examples, the last 1/N of the training set is the validation set.
_VALIDATION_SHARE = 10


def find_for(config: TrainConfig) -> Source:
    """Find the data set of a run and apply its options.

    With `validate` its test split is the validation set, and the test set is never
    read.

    Raises:
      UsageError: If the data set does not exist or does not suit the options.
    """
    source = find(config.dataset, config.data_dir)
    _check_kind(config, source)
    train_size, test_size = _find_sizes(config, source)
    shape = source.input_shape
    if config.side is not None:
        _check_side(config.side, source)
        shape = (config.side, config.side, *shape[2:])

    def read() -> Dataset:
        contents = source.read()
        assert isinstance(contents, Dataset)
        return _select(config, source, contents)

    changed = (config.examples, config.validate, config.side, config.label_noise)
    if changed == (None, False, None, 0.0):
        return source
    return dataclasses.replace(
        source,
        train_size=train_size,
        test_size=test_size,
        input_shape=shape,
        read=read,
    )


def _check_kind(config: TrainConfig, source: Source) -> None:
    """Raise an error for options that the kind of data set does not allow."""
    given = {
        "--examples": config.examples is not None,
        "--side": config.side is not None,
        "--label-noise": config.label_noise > 0,
        "--validate": config.validate,
    }
    for option, is_given in given.items():
        if is_given and not source.resident:
            raise UsageError(
                f"{option} needs a data set that fits into memory, but {source.name} "
                "is read while training; leave it out or name another --dataset."
            )
        if is_given and source.kind == "text" and option != "--validate":
            raise UsageError(
                f"{option} is for images with labels, but {source.name} holds text; "
                "leave it out or name another --dataset."
            )
        if is_given and option == "--side" and source.kind == "arrays":
            raise UsageError(
                f"--side is for 8-bit images, but {source.name} holds other arrays; "
                "leave it out."
            )
        if is_given and not source.classes and option != "--validate":
            raise UsageError(
                f"{option} is for classes, but {source.name} holds targets; leave it "
                "out."
            )


def _check_side(side: int, source: Source) -> None:
    height, width, _ = source.input_shape
    allowed = [k for k in range(1, height + 1) if height % k == 0]
    if height != width or side not in allowed:
        raise UsageError(
            f"--side must divide the side of the images, {height}x{width} in "
            f"{source.name}, got {side}; choose from {', '.join(map(str, allowed))}."
        )


def _find_sizes(config: TrainConfig, source: Source) -> tuple[int, int]:
    """Return how many examples are trained and evaluated on, if there are enough."""
    size = source.train_size
    if config.examples is None:
        left_out = size // _VALIDATION_SHARE if config.validate else 0
        if config.validate and not left_out:
            raise UsageError(
                f"--validate needs at least {_VALIDATION_SHARE} training examples, "
                f"{source.name} has {size}; leave it out."
            )
        return size - left_out, left_out or source.test_size
    most = size // (2 if config.validate else 1) // source.classes * source.classes
    if config.examples % source.classes or config.examples > most:
        raise UsageError(
            f"--examples must be a multiple of the {source.classes} classes and at "
            f"most {most}, for {source.name}{' with --validate' * config.validate}, "
            f"got {config.examples}."
        )
    return config.examples, config.examples if config.validate else source.test_size


def _select(config: TrainConfig, source: Source, contents: Dataset) -> Dataset:
    """Apply the options: select, downsample, then replace labels."""
    chosen, others = _choose(config, source, contents.train.labels)
    train = Split(*(x[chosen] for x in contents.train))
    test = contents.test
    if config.validate:
        test = Split(*(x[others] for x in contents.train))
    preprocessing = contents.preprocessing
    if config.side is not None:
        factor = source.input_shape[0] // config.side
        train, test = (
            split._replace(inputs=pool(split.inputs, factor)) for split in (train, test)
        )
        # Keep the shift the same fraction of the image.
        assert isinstance(preprocessing, Pixels)  # text has no sides
        padding = preprocessing.padding // factor
        preprocessing = dataclasses.replace(preprocessing, padding=padding)
    if config.label_noise:
        labels = add_label_noise(train.labels, config.label_noise, source.classes)
        train = train._replace(labels=labels)
    return Dataset(train, test, preprocessing)


def _choose(
    config: TrainConfig, source: Source, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the sorted indices of the training and the validation examples."""
    if config.examples is None:
        cut = len(labels)
        if config.validate:
            cut -= cut // _VALIDATION_SHARE
        everything = np.arange(len(labels))
        return everything[:cut], everything[cut:]
    each, parts = config.examples // source.classes, 2 if config.validate else 1
    by_class = [np.flatnonzero(labels == k) for k in range(source.classes)]
    fewest = min(map(len, by_class))
    if fewest < parts * each:
        raise UsageError(
            f"--examples must be at most {fewest // parts * source.classes} for "
            f"{source.name}, whose smallest class has {fewest} training examples, got "
            f"{config.examples}."
        )
    first, next_ones = (
        np.sort(np.concatenate([places[start : start + each] for places in by_class]))
        for start in (0, each)
    )
    return first, next_ones


def pool(images: np.ndarray, factor: int) -> np.ndarray:
    """Replace blocks of pixels by their means, rounded to 8 bits, halves to even.

    >>> pool(np.uint8([[[[1], [2]], [[3], [5]]]]), 2).tolist()
    [[[[3]]]]
    """
    n, height, width, channels = images.shape
    blocks = (n, height // factor, factor, width // factor, factor, channels)
    means = images.reshape(blocks).mean(axis=(2, 4), dtype=np.float32)
    return np.rint(means).astype(np.uint8)


def add_label_noise(labels: np.ndarray, share: float, classes: int) -> np.ndarray:
    """Replace a share of the labels by other classes, the same at every call."""
    rng = np.random.default_rng(_NOISE_SEED)
    wrong = rng.permutation(len(labels))[: round(share * len(labels))]
    noisy = labels.copy()
    noisy[wrong] += rng.integers(1, classes, len(wrong), dtype=labels.dtype)
    return noisy % classes
