"""Decoded arrays cached under runs/: decoding costs more than reading an epoch."""

import hashlib
import os
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.paths import RUNS


def fingerprint(folder: Path) -> str:
    """Hash the place, names, sizes and dates of a prepared data set's files."""
    files = sorted(
        (file.name, file.stat().st_size, file.stat().st_mtime_ns)
        for file in folder.iterdir()
    )
    return hashlib.sha256(repr((folder.resolve(), files)).encode()).hexdigest()[:16]


def cached(
    key: str, decode: Callable[[], dict[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """Return the arrays cached under a key, or decode and cache them.

    The file is renamed into place only when it is complete. If it cannot be written,
    the arrays are decoded each time.
    """
    path = RUNS / ".cache" / f"{key}.npz"
    try:
        with path.open("rb") as file, np.load(file) as stored:
            return dict(stored)
    except (OSError, ValueError, zipfile.BadZipFile):
        arrays = decode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".partial")
        try:
            with os.fdopen(handle, "wb") as file:
                np.savez(file, **arrays)  # pyright: ignore[reportArgumentType]
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        warnings.warn(f"decoded images are not kept: {error}", stacklevel=2)
    return arrays
