"""Download the usual data sets and write them as TFDS does, without TensorFlow.

TFDS' own builders decide on the names, splits, ids, features and order. Only the two
steps for which they call TensorFlow are done here: fetching the archives and reading
the images in them.
"""

import contextlib
import gzip
import hashlib
import importlib.util
import io
import sys
import tarfile
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import requests
import urllib3
from PIL import Image
from tqdm import tqdm

from benchmarks.errors import UsageError, check_name

# Seconds that a server may take to answer, and to send the next bytes.
TIMEOUT = 30


@dataclass(frozen=True)
class Archive:
    """A file to download: its URL, length in bytes and checksum."""

    url: str
    size: int
    sha256: str

    @property
    def name(self) -> str:
        """The last part of the URL."""
        return PurePosixPath(urlsplit(self.url).path).name


def prepare(name: str, data_dir: Path | None, download_dir: Path | None = None) -> Path:
    """Download a data set and write it for TFDS to read; return its folder.

    An interrupted download is continued by the next call; the finished set appears
    under its name only when it is whole. Archives that are in their place already, by
    default in downloads/NAME in the folder for data sets, are not downloaded.

    Raises:
      UsageError: If the name is not known, an archive cannot be had or is not the one
        that TFDS knows, or a folder is in the way or cannot be written.
    """
    check_name("the data set", name, NAMES)
    tfds = import_tfds()
    tfds.display_progress_bar(sys.stderr.isatty())
    try:
        builder = tfds.builder(name, data_dir=data_dir)
        folder = Path(builder.data_path)
        if folder.exists():
            _check_prepared(builder)
            print(f"{name} is already prepared in {folder}.")
            return folder
        downloads = (download_dir or Path(builder.data_dir_root) / "downloads") / name
        downloads.mkdir(parents=True, exist_ok=True)
        paths = {
            archive.name: _fetch(archive, downloads) for archive in registered(name)
        }
        _build(builder, paths)
    except (OSError, RuntimeError) as error:  # array_record's where a disk is full
        raise UsageError(f"{name} cannot be prepared: {error}.") from error
    print(f"{name} is prepared in {folder}.")
    return folder


def import_tfds() -> Any:
    """Import TFDS, which takes a second, without its warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tensorflow_datasets as tfds
    from absl import logging

    logging.set_verbosity(logging.ERROR)  # about what is checked here, with advice
    return tfds


def registered(name: str) -> list[Archive]:
    """List the archives of a data set as TFDS has registered them."""
    import tensorflow_datasets as tfds

    infos: Any = tfds.builder_cls(name).url_infos
    return [Archive(url, int(of.size), of.checksum) for url, of in infos.items()]


def _check_prepared(builder: Any) -> None:
    """Refuse a folder from which nothing can be read without TensorFlow."""
    if not builder.is_prepared():
        raise UsageError(
            f"{builder.data_path} exists but holds no prepared data set; remove it, or "
            "give another --data-dir."
        )
    file_format = builder.info.file_format.value
    if file_format not in ("array_record", "parquet"):
        raise UsageError(
            f"{builder.data_path} is in the {file_format} format, which only "
            "TensorFlow reads; give another --data-dir."
        )


def _fetch(archive: Archive, folder: Path) -> Path:
    """Return the path of an archive that is whole, downloading what is missing."""
    path = folder / archive.name
    if path.exists():
        if found := _difference(archive, path):
            raise UsageError(
                f"{path} is not the file that TFDS knows from {archive.url}: {found}; "
                "replace it, or remove it to download it."
            )
        return path
    partial_path = folder / f"{archive.name}.partial"
    by_hand = f"or download it by hand to {path}"
    received = partial_path.stat().st_size if partial_path.exists() else 0
    if received < archive.size:
        try:
            received = _download(archive, partial_path, received)
        except requests.RequestException as error:
            raise UsageError(
                f"{archive.url} cannot be downloaded: {_reason(error)}; check the "
                f"network and try again, {by_hand}."
            ) from error
        if received < archive.size:
            raise UsageError(
                f"{archive.url} broke off after {received} of {archive.size} bytes; "
                f"run the same command again to continue, {by_hand}."
            )
    if found := _difference(archive, partial_path):
        partial_path.unlink()
        raise UsageError(
            f"{archive.url} is not the file that TFDS knows: {found}; it was removed, "
            f"try again, {by_hand}."
        )
    return partial_path.replace(path)


def _download(archive: Archive, path: Path, start: int) -> int:
    """Append to a file what it lacks and return its new length."""
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    with requests.get(
        archive.url, headers=headers, stream=True, timeout=TIMEOUT
    ) as response:
        response.raise_for_status()
        if response.status_code != 206:  # it sends all of it, whatever was asked
            start = 0
        offered = response.headers.get("Content-Length")
        if offered and start + int(offered) != archive.size:
            raise requests.RequestException(
                f"the server offers {start + int(offered)} bytes where TFDS knows "
                f"{archive.size}"
            )
        with (
            open(path, "ab" if start else "wb") as file,
            tqdm(
                total=archive.size,
                initial=start,
                desc=archive.name,
                unit="B",
                unit_scale=True,
                disable=None,
            ) as bar,
            # The next call goes on where the connection ended, or got stuck.
            contextlib.suppress(urllib3.exceptions.HTTPError),
        ):
            while block := response.raw.read1(2**16):
                file.write(block)
                bar.update(len(block))
    return path.stat().st_size


def _reason(error: BaseException) -> str:
    """Say what lies at the bottom of an error of the network."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"HTTP {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.Timeout):
        return f"no answer within {TIMEOUT} seconds"
    while isinstance(cause := error.__cause__ or error.__context__, Exception):
        error = cause
    return str(error)


def _difference(archive: Archive, path: Path) -> str:
    """Say how a file differs from its registration; nothing if it does not."""
    size = path.stat().st_size
    if size != archive.size:
        return f"expected {archive.size} bytes, got {size}"
    with open(path, "rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if sha256 != archive.sha256:
        return f"expected sha256 {archive.sha256}, got {sha256}"
    return ""


def _build(builder: Any, paths: Mapping[str, Path]) -> None:
    """Let a builder of TFDS write its data set from archives."""
    file_format = "array_record"
    if importlib.util.find_spec("array_record") is None:  # as outside Linux
        file_format = "parquet"
    with (
        tempfile.TemporaryDirectory() as unpacked,
        contextlib.redirect_stdout(io.StringIO()),  # "Unknown size"
    ):
        # The two steps of the official builder that call TensorFlow.
        builder._make_download_manager = lambda **_: _Archives(paths, Path(unpacked))
        builder._generate_examples = _EXAMPLES[builder.name]
        builder.download_and_prepare(file_format=file_format)


class _Archives:
    """What a builder asks its download manager for, from files that are there."""

    def __init__(self, paths: Mapping[str, Path], unpacked: Path) -> None:
        self._paths = paths
        self._unpacked = unpacked
        self.downloaded_size = sum(path.stat().st_size for path in paths.values())

    def download(self, urls: Mapping[str, str]) -> dict[str, Path]:
        """Return the path of each file."""
        return {key: self._path(url) for key, url in urls.items()}

    def download_and_extract(self, urls: str | Mapping[str, str]) -> Any:
        """Unpack a tape archive; files of one image set each are read as they are."""
        if not isinstance(urls, str):
            return self.download(urls)
        with tarfile.open(self._path(urls)) as archive:
            # An attribute, because 3.11.0 to 3.11.3 know no such argument.
            archive.extraction_filter = getattr(tarfile, "data_filter", None)
            archive.extractall(self._unpacked)
        return self._unpacked

    def _path(self, url: str) -> Path:
        return self._paths[PurePosixPath(urlsplit(url).path).name]


# Keys and ids below are those of the official builders: the order depends on them.
_Examples = Iterator[tuple[int, dict[str, Any]]]


def _cifar(
    label_keys: tuple[str, ...], split_prefix: str, filepaths: Iterable[str]
) -> _Examples:
    """Read records of one byte per label and 1024 each of red, green and blue."""
    rows = np.concatenate([np.fromfile(path, np.uint8) for path in filepaths])
    labels, images = np.split(
        rows.reshape(-1, len(label_keys) + 3072), [len(label_keys)], axis=1
    )
    images = images.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    for i, (image, values) in enumerate(zip(images, labels.tolist(), strict=True)):
        example = dict(zip(label_keys, values, strict=True))
        example |= {"id": f"{split_prefix}{i:05d}", "image": Image.fromarray(image)}
        yield i, example


def _mnist(num_examples: int, data_path: Path, label_path: Path) -> _Examples:
    """Read pixels behind 16 bytes of header and labels behind 8."""
    del num_examples  # the files have as many as they have
    with gzip.open(data_path) as file:
        images = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 28, 28)
    with gzip.open(label_path) as file:
        labels = np.frombuffer(file.read(), np.uint8, offset=8).tolist()
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        yield i, {"image": Image.fromarray(image), "label": label}


def _svhn(split_prefix: str, filepath: Path) -> _Examples:
    """Read MATLAB's arrays, whose last axis counts images and whose 10 means 0."""
    from scipy.io import loadmat

    arrays = loadmat(filepath)
    labels = (arrays["y"].ravel() % 10).tolist()
    images = np.moveaxis(arrays["X"], -1, 0)
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        example = {"id": f"{split_prefix}{i:06d}", "label": label}
        yield i, example | {"image": Image.fromarray(image)}


_EXAMPLES = {
    "cifar10": partial(_cifar, ("label",)),
    "cifar100": partial(_cifar, ("coarse_label", "label")),
    "mnist": _mnist,
    "fashion_mnist": _mnist,
    "svhn_cropped": _svhn,
}
NAMES = tuple(_EXAMPLES)
