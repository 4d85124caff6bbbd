"""The user's own data: an .npz file, a folder of images, or a function.

Images are 8-bit arrays (n, height, width, channels) with one class each; they are
normalized and augmented like those of other data sets. Integers with a label for each
are text. Everything else reaches the network unchanged.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from benchmarks import own
from benchmarks.data.arrays import in_memory
from benchmarks.data.preprocessing import Tokens, Values
from benchmarks.data.types import Dataset, Source, Split
from benchmarks.errors import UsageError

# Accepted names of the arrays in an .npz file: inputs and labels of train and test.
_NAMES = (
    ("train_inputs", "train_labels", "test_inputs", "test_labels"),
    ("train_images", "train_labels", "test_images", "test_labels"),
    ("x_train", "y_train", "x_test", "y_test"),
)
_IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")


def is_own(name: str) -> bool:
    """Return whether a name is that of a function, a file, or a folder."""
    is_path = name.endswith(".npz") or "/" in name or Path(name).is_dir()
    return own.is_own(name) or is_path


def find(name: str) -> Source:
    """Read the user's own data set: a file, a folder, or what a function returns.

    Raises:
      UsageError: If it does not exist or does not have the form.
    """
    if own.is_own(name):
        found = own.find("--dataset", name)
        settings = {key: own.as_number(value) for key, value in found.settings.items()}
        arguments = own.choose("--dataset", name, found.value, {}, settings)
        try:
            contents = found.value(**arguments)
        except Exception as error:  # whatever the user's function raises
            raise UsageError(
                f"--dataset {name} raises {type(error).__name__}: {error}"
            ) from error
        return from_arrays(name, contents)
    path = Path(name)
    if path.is_dir():
        return from_arrays(name, _read_folder(path))
    if path.suffix != ".npz" or not path.is_file():
        raise UsageError(
            f"--dataset {name} is neither a .npz file nor a folder; see to the path."
        )
    return from_arrays(name, _read_npz(path))


def from_arrays(name: str, contents: Any) -> Source:
    """Make the source of arrays.

    Args:
      name: What the data set is called.
      contents: ((inputs, labels), (inputs, labels)) of training and test; or a mapping
        with the keys train and test. Labels are classes (n,) numbered from 0, one
        integer per input, or targets (n, ...).

    Raises:
      UsageError: If the arrays do not fit together, saying which.
    """
    if isinstance(contents, Mapping) and {"train", "test"} <= contents.keys():
        contents = contents["train"], contents["test"]
    try:
        (train_inputs, train_labels), (test_inputs, test_labels) = contents
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"--dataset {name} must be ((inputs, labels), (inputs, labels)), training "
            "and test, each an array."
        ) from error
    train = _as_split(f"{name}, train", train_inputs, train_labels)
    test = _as_split(f"{name}, test", test_inputs, test_labels)
    for what, one, other in zip(("inputs", "labels"), train, test, strict=True):
        if (one.shape[1:], one.dtype) != (other.shape[1:], other.dtype):
            raise UsageError(
                f"--dataset {name}: {what} of train are {one.dtype}{[*one.shape[1:]]} "
                f"each, of test {other.dtype}{[*other.shape[1:]]}; they must be alike."
            )
    classes = 0
    if np.issubdtype(train.labels.dtype, np.integer):
        low = min(train.labels.min(), test.labels.min())
        if low < 0:
            raise UsageError(
                f"--dataset {name} has the label {low}; classes are numbered from 0."
            )
        classes = int(max(train.labels.max(), test.labels.max())) + 1
    return _make_source(name, train, test, classes)


def _make_source(name: str, train: Split, test: Split, classes: int) -> Source:
    inputs, labels = train
    sizes, shape = (len(train.labels), len(test.labels)), inputs.shape[1:]
    if inputs.dtype == np.uint8 and inputs.ndim == 4 and classes and labels.ndim == 1:
        return Source(
            name, *sizes, shape, classes, "images", lambda: in_memory(name, train, test)
        )
    whole = np.issubdtype(inputs.dtype, np.integer)
    kind, contents = "arrays", Dataset(train, test, Values())
    if whole and classes and inputs.ndim == 2 and labels.shape == inputs.shape:
        classes = max(classes, int(max(inputs.max(), test.inputs.max())) + 1)
        kind, contents = "text", Dataset(train, test, Tokens())
    return Source(name, *sizes, shape, classes, kind, lambda: contents)


def _as_split(where: str, inputs: Any, labels: Any) -> Split:
    """Convert arrays to the dtypes and shapes that training expects."""
    inputs, labels = np.asarray(inputs), np.asarray(labels)
    for what, array in (("inputs", inputs), ("labels", labels)):
        if array.dtype.kind not in "biuf" or not array.ndim or not len(array):
            raise UsageError(
                f"--dataset {where}: {what} must be an array of numbers with one row "
                f"for each example, got {array.dtype}{[*array.shape]}."
            )
    if len(inputs) != len(labels):
        raise UsageError(
            f"--dataset {where} has {len(inputs)} inputs and {len(labels)} labels; "
            "there must be as many."
        )
    if inputs.dtype == np.uint8 and inputs.ndim == 3:  # grey images
        inputs = inputs[..., None]
    if inputs.dtype.kind == "f":
        inputs = inputs.astype(np.float32)
    elif inputs.dtype != np.uint8:
        inputs = inputs.astype(np.int32)
    if labels.dtype.kind == "f":
        return Split(inputs, labels.astype(np.float32))
    if labels.ndim == 2 and labels.shape[1] == 1 and inputs.shape != labels.shape:
        labels = labels[:, 0]  # as some files have them
    return Split(inputs, labels.astype(np.int32))


def _read_npz(path: Path) -> Any:
    try:
        with np.load(path) as file:
            for names in _NAMES:
                if set(names) <= set(file):
                    a, b, c, d = (file[name] for name in names)
                    return (a, b), (c, d)
            found = ", ".join(file)
    except (OSError, ValueError) as error:
        raise UsageError(f"--dataset {path} cannot be read: {error}") from error
    raise UsageError(
        f"--dataset {path} must hold the arrays {', '.join(_NAMES[0])}, or "
        f"{', '.join(_NAMES[-1])}; it holds {found or 'nothing'}."
    )


def _read_folder(folder: Path) -> Any:
    """Read train/CLASS/* and test/CLASS/*, with classes sorted by name."""
    tests = [x for x in ("test", "val", "validation") if (folder / x).is_dir()]
    if not (folder / "train").is_dir() or not tests:
        raise UsageError(
            f"--dataset {folder} must have the folders train and test, with a folder "
            "of images for each class in both."
        )
    names = sorted(x.name for x in (folder / "train").iterdir() if x.is_dir())
    return (
        _read_images(folder / "train", names),
        _read_images(folder / tests[0], names),
    )


def _read_images(folder: Path, names: list[str]) -> tuple[np.ndarray, np.ndarray]:
    others = {x.name for x in folder.iterdir() if x.is_dir()} - set(names)
    if others:
        raise UsageError(
            f"--dataset {folder} has the class {min(others)}, which train lacks."
        )
    paths = [
        (path, label)
        for label, name in enumerate(names)
        for path in sorted((folder / name).glob("*"))
        if path.suffix.lower() in _IMAGES
    ]
    if not paths:
        raise UsageError(
            f"--dataset {folder} holds no images in folders of classes; they end with "
            f"{', '.join(_IMAGES)}."
        )
    images = []
    for path, _ in tqdm(paths, f"read {folder.name}", unit="image", disable=None):
        try:
            with Image.open(path) as image:
                images.append(np.asarray(image.convert("RGB")))
        except OSError as error:
            raise UsageError(f"--dataset: {path} cannot be read: {error}") from error
        if images[-1].shape != images[0].shape:
            height, width, _ = images[0].shape
            raise UsageError(
                f"--dataset: {path} has {images[-1].shape[0]}x{images[-1].shape[1]} "
                f"pixels, but {paths[0][0]} has {height}x{width}; bring all images to "
                "one size."
            )
    return np.stack(images), np.array([label for _, label in paths], np.int32)
