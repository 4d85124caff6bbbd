"""Images of one size, read into memory: scikit-learn's digits and those of TFDS."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.data.cache import cached, fingerprint
from benchmarks.data.preprocessing import Pixels
from benchmarks.data.types import Dataset, Source, Split, check_label, unreadable
from benchmarks.errors import UsageError

# Channel means and standard deviations in the authors' program. For other data sets
# they are computed.
_PUBLISHED = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "cifar100": ((0.507, 0.487, 0.441), (0.267, 0.256, 0.276)),
}
# Data sets whose images can be flipped. Digits cannot.
_MIRRORED = ("cifar10", "cifar100")


def find_digits() -> Source:
    """Scikit-learn's 1,797 scanned digits, a fifth of each class kept for the test."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits: Any = load_digits()
    # 17 grey levels, 0 to 16, spread over the range of a byte.
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)[..., None]
    labels = digits.target.astype(np.int32)
    train_images, test_images, train_labels, test_labels = train_test_split(
        images, labels, test_size=360, stratify=labels, random_state=0
    )
    train, test = Split(train_images, train_labels), Split(test_images, test_labels)
    return Source(
        "digits",
        len(train_labels),
        len(test_labels),
        images.shape[1:],
        10,
        "images",
        lambda: in_memory("digits", train, test),
    )


def find_images(name: str, builder: Any) -> Source:
    """Find a TFDS image data set in which all images have the declared size."""
    features, splits = builder.info.features, builder.info.splits
    shape, classes = features["image"].shape, features["label"].num_classes

    def decode() -> dict[str, np.ndarray]:
        arrays = {}
        for split in ("train", "test"):
            inputs, labels = _decode(name, split, builder, shape, classes)
            arrays |= {f"{split}_images": inputs, f"{split}_labels": labels}
        return arrays

    def read() -> Dataset:
        kept = cached(f"{name}-{fingerprint(Path(builder.data_path))}", decode)
        train = Split(kept["train_images"], kept["train_labels"])
        return in_memory(name, train, Split(kept["test_images"], kept["test_labels"]))

    sizes = splits["train"].num_examples, splits["test"].num_examples
    return Source(name, *sizes, shape, classes, "images", read)


def in_memory(name: str, train: Split, test: Split) -> Dataset:
    """Compute missing channel statistics, and choose the usual augmentation."""
    mean, std = _PUBLISHED.get(name) or _statistics(train.inputs)
    # The paper shifts images of 32 pixels by up to 4.
    padding = train.inputs.shape[1] // 8
    return Dataset(train, test, Pixels(mean, std, padding, name in _MIRRORED))


def _decode(
    name: str, split: str, builder: Any, shape: tuple[int, ...], classes: int
) -> Split:
    """Read every example of a split into two arrays, in its order."""
    source = builder.as_data_source(split=split)
    images = np.empty((len(source), *shape), np.uint8)
    labels = np.empty(len(source), np.int32)
    title = f"decode {split}"
    with tqdm(total=len(source), desc=title, unit="image", disable=None) as bar:
        for start in range(0, len(source), 1000):
            wanted = range(start, min(start + 1000, len(source)))
            examples = _examples(f"{name}, {split}", source, wanted)
            for i, example in zip(wanted, examples, strict=True):
                where = f"{name}, {split}[{i}]"
                check_label(where, int(example["label"]), classes)
                if example["image"].shape != shape:
                    raise UsageError(
                        f"--dataset {where} has the shape {example['image'].shape}, "
                        f"but all images must have {shape}; prepare it again."
                    )
                images[i], labels[i] = example["image"], example["label"]
            bar.update(len(wanted))
    return Split(images, labels)


def _examples(where: str, source: Any, wanted: range) -> Sequence[dict[str, Any]]:
    """Read many at once, which is fast; name the first unreadable one in the error."""
    try:
        return source.__getitems__(wanted)
    except Exception:
        for i in wanted:
            try:
                source[i]
            except Exception as error:
                raise unreadable(f"{where}[{i}]", error) from error
        raise


def _statistics(images: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation per channel, from counts of 256 values."""
    levels = np.arange(256) / 255
    means, deviations = [], []
    for channel in range(images.shape[-1]):
        counts = np.bincount(images[..., channel].ravel(), minlength=256)
        mean = np.average(levels, weights=counts)
        means.append(float(mean))
        variance = np.average((levels - mean) ** 2, weights=counts)
        deviations.append(float(np.sqrt(variance)) or 1.0)  # 1 where all is one color
    return tuple(means), tuple(deviations)
