"""Find a data set by name, or say in one line what is missing."""

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.data import arrays, imagenet, own_arrays, text
from benchmarks.data.prepare import NAMES as PREPARABLE
from benchmarks.data.prepare import import_tfds
from benchmarks.data.types import Source
from benchmarks.errors import UsageError

# Usual names. Any other TFDS data set with images and labels, or with text, works.
NAMES = ("digits", *PREPARABLE, "tiny_shakespeare", "imagenet2012")


def find(name: str, data_dir: Path | None) -> Source:
    """Find a data set without reading its images.

    Args:
      name: "digits", the name of a TFDS builder, or your own; see `own_arrays`.
      data_dir: TFDS's data directory; None for its default.

    Raises:
      UsageError: If the data set does not exist, is not prepared, or holds neither
        images with labels nor text.
    """
    if own_arrays.is_own(name):
        return own_arrays.find(name)
    if name == "digits":
        if data_dir is not None:
            raise UsageError(
                "--data-dir has no use with --dataset digits, which comes with "
                "scikit-learn; leave it out or name another data set."
            )
        return arrays.find_digits()
    builder, tfds = _open(name, data_dir)
    features: Any = builder.info.features
    named = isinstance(features, tfds.features.FeaturesDict)
    features = dict(features.items()) if named else {}
    image, label = features.get("image"), features.get("label")
    # ImageNet's test split has no labels.
    test = "validation" if name == "imagenet2012" else "test"
    if {"train", test} <= set(builder.info.splits):
        if (
            isinstance(image, tfds.features.Image)
            and isinstance(label, tfds.features.ClassLabel)
            and image.np_dtype == np.uint8
        ):
            if None in image.shape:
                return imagenet.find_stream(name, builder, test)
            return arrays.find_images(name, builder)
        if isinstance(features.get("text"), tfds.features.Text) and len(features) == 1:
            return text.find_text(name, builder)
    raise UsageError(
        f"--dataset {name} does not hold 8-bit images with labels, or text, split into "
        f"train and {test}; try {', '.join(NAMES)}."
    )


def _open(name: str, data_dir: Path | None) -> tuple[Any, Any]:
    """Open a prepared TFDS builder; return it and the module tfds."""
    tfds = import_tfds()
    from tensorflow_datasets.core import constants

    searched = data_dir or Path(constants.DATA_DIR)
    if name in PREPARABLE:
        prepare = f"`python -m benchmarks prepare {name} --data-dir DIR` prepares it"
    else:
        prepare = (
            f"`tfds build {name} --file_format=array_record --data_dir=DIR` prepares "
            "it where TensorFlow is installed"
        )
    prepare += "; then give --data-dir DIR."
    try:
        builder: Any = tfds.builder(name, data_dir=data_dir)
    except tfds.core.DatasetNotFoundError as error:
        raise UsageError(
            f"--dataset {name!r} does not exist: neither prepared in {searched} nor "
            f"known to TFDS; try {', '.join(NAMES)}, or any other TFDS builder of "
            "images and labels."
        ) from error
    except ValueError as error:
        raise UsageError(
            f"--dataset {name!r} is not a valid TFDS name; try {', '.join(NAMES)}."
        ) from error
    if not builder.is_prepared():
        raise UsageError(
            f"--dataset {name} is not prepared: searched {builder.data_path}. {prepare}"
        )
    readable = tfds.core.FileFormat.ARRAY_RECORD, tfds.core.FileFormat.PARQUET
    if builder.info.file_format not in readable:
        raise UsageError(
            f"--dataset {name} in {builder.data_path} is in the "
            f"{builder.info.file_format.value} format, which only TensorFlow reads. "
            f"{prepare}"
        )
    return builder, tfds
