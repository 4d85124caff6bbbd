"""Small archives laid out as the published ones, and a server that offers them."""

import gzip
import hashlib
import io
import struct
import tarfile
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import scipy.io
import tensorflow_datasets as tfds

from benchmarks.data.prepare import Archive

SIZES = {"train": 10, "test": 3, "extra": 4}
LABELS = {
    "train": np.array([3, 0, 9, 1, 1, 7, 2, 8, 5, 6], np.uint8),
    "test": np.array([4, 0, 9], np.uint8),
    "extra": np.array([0, 6, 1, 9], np.uint8),
}
COARSE_LABELS = {"train": LABELS["train"] + 10, "test": LABELS["test"] + 10}
_random = np.random.default_rng(0)
COLOUR, GREY = (
    {
        split: _random.integers(0, 256, (size, *shape), dtype=np.uint8)
        for split, size in SIZES.items()
    }
    for shape in ((32, 32, 3), (28, 28, 1))
)
CLASSES = [f"class {i}" for i in range(10)]
FINE_CLASSES = [f"fine {i}" for i in range(100)]
COARSE_CLASSES = [f"coarse {i}" for i in range(20)]


def _tape(files):
    """Pack files, given by name, as .tar.gz."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tape:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tape.addfile(member, io.BytesIO(content))
    return _zip(packed.getvalue())


def _zip(content):
    return gzip.compress(content, mtime=0)  # the same bytes in every process


def _lines(names):
    return "".join(f"{name}\n" for name in [*names, ""]).encode()


def _records(split, *labels):
    """One byte per label, then the red, the green and the blue pixels."""
    return [
        bytes(label[i] for label in labels)
        + b"".join(image[:, :, channel].tobytes() for channel in range(3))
        for i, image in enumerate(COLOUR[split])
    ]


def _cifar10():
    folder = "cifar-10-batches-bin"
    train = _records("train", LABELS["train"])
    batches = {
        f"{folder}/data_batch_{i + 1}.bin": train[2 * i] + train[2 * i + 1]
        for i in range(5)
    }
    batches[f"{folder}/test_batch.bin"] = b"".join(_records("test", LABELS["test"]))
    batches[f"{folder}/batches.meta.txt"] = _lines(CLASSES)
    return {"cifar-10-binary.tar.gz": _tape(batches)}


def _cifar100():
    folder = "cifar-100-binary"
    files = {
        f"{folder}/{split}.bin": b"".join(
            _records(split, COARSE_LABELS[split], LABELS[split])
        )
        for split in ("train", "test")
    }
    files[f"{folder}/coarse_label_names.txt"] = _lines(COARSE_CLASSES)
    files[f"{folder}/fine_label_names.txt"] = _lines(FINE_CLASSES)
    return {"cifar-100-binary.tar.gz": _tape(files)}


def _mnist():
    files = {}
    for split, prefix in (("train", "train"), ("test", "t10k")):
        size = SIZES[split]
        images = struct.pack(">iiii", 2051, size, 28, 28) + GREY[split].tobytes()
        labels = struct.pack(">ii", 2049, size) + LABELS[split].tobytes()
        files[f"{prefix}-images-idx3-ubyte.gz"] = _zip(images)
        files[f"{prefix}-labels-idx1-ubyte.gz"] = _zip(labels)
    return files


def _svhn():
    files = {}
    for split, images in COLOUR.items():
        file = io.BytesIO()
        labels = [10 if label == 0 else label for label in LABELS[split]]
        arrays = {
            "X": np.stack(list(images), axis=-1),
            "y": np.array(labels, np.uint8)[:, None],
        }
        scipy.io.savemat(file, arrays, do_compression=True)
        files[f"{split}_32x32.mat"] = file.getvalue()
    return files


ARCHIVES = {
    "cifar10": _cifar10(),
    "cifar100": _cifar100(),
    "mnist": _mnist(),
    "fashion_mnist": _mnist(),
    "svhn_cropped": _svhn(),
}


def registered(name, root="http://127.0.0.1:9"):
    """Register the archives of a data set as if they were published below a root."""
    return [
        Archive(f"{root}/{name}/{file}", len(content), sha256(content))
        for file, content in ARCHIVES[name].items()
    ]


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def replicate(folder, name):
    """Write the archives of a data set where a download would have put them."""
    (folder / name).mkdir(parents=True)
    for file, content in ARCHIVES[name].items():
        (folder / name / file).write_bytes(content)


class Server(ThreadingHTTPServer):
    """Offers the archives, and misbehaves on demand.

    Attributes:
      requests: The path of each request and the range it asked for.
      files: What is offered under each path.
      ranges: Whether a request for a range is honoured.
      breaks_after: The number of bytes after which the connection is closed.
      stalls: Whether it is kept open instead, or no answer is sent at all if the
        number is 0.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.root = f"http://127.0.0.1:{self.server_port}"
        self.requests = []
        self.files = {
            f"/{name}/{file}": content
            for name, files in ARCHIVES.items()
            for file, content in files.items()
        }
        self.ranges = True
        self.breaks_after = None
        self.stalls = False
        self.released = threading.Event()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server: Any = self.server
        asked = self.headers.get("Range")
        server.requests.append((self.path, asked))
        if server.stalls and server.breaks_after == 0:
            server.released.wait()
            return
        if self.path not in server.files:
            self.send_error(404)
            return
        content = server.files[self.path]
        if asked and server.ranges:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            self.send_response(206)
            span = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self.send_header("Content-Range", span)
            content = content[start:]
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: server.breaks_after])
        if server.stalls:
            self.wfile.flush()
            server.released.wait()

    def log_message(self, *_):
        pass


@contextmanager
def serve():
    """Run a server in a thread."""
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.released.set()
        server.shutdown()
        thread.join()


class KeyOrder(tfds.core.GeneratorBasedBuilder):
    """Examples that hold their own keys, which TFDS shuffles as it does for all."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = tfds.features.FeaturesDict({"key": np.int64})
        return self.dataset_info_from_configs(features=features)

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(size) for split, size in SIZES.items()}

    def _generate_examples(self, size):
        for key in range(size):
            yield key, {"key": key}
