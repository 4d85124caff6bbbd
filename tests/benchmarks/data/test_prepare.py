"""Archives become what TFDS reads, or one line says why not; nothing half is kept."""

import importlib.util
import json
import signal
import socket
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds

from benchmarks.data import prepare as module
from benchmarks.data.prepare import NAMES, Archive, prepare, registered
from benchmarks.errors import UsageError
from benchmarks.paths import ROOT
from tests.helpers import archives

FIRST = "train-images-idx3-ubyte.gz"  # the file of mnist that is downloaded first
CONTENT = archives.ARCHIVES["mnist"][FIRST]


@pytest.fixture
def server(monkeypatch):
    with archives.serve() as server:
        monkeypatch.setattr(
            module, "registered", lambda name: archives.registered(name, server.root)
        )
        yield server


@pytest.fixture(scope="module")
def key_order(tmp_path_factory):
    """The order into which TFDS shuffles the keys 0, 1, ... of each split."""
    builder = archives.KeyOrder(
        data_dir=tmp_path_factory.mktemp("keys"), file_format="array_record"
    )
    builder.download_and_prepare()
    return {
        split: [int(example["key"]) for example in builder.as_data_source(split)]
        for split in archives.SIZES
    }


def _read(name, folder):
    builder = tfds.builder(name, data_dir=folder)
    return {split: list(builder.as_data_source(split)) for split in builder.info.splits}


def _assert_holds(name, folder, key_order):
    """Compare what plain TFDS reads with what was put into the archives."""
    grey = name.endswith("mnist")
    splits = _read(name, folder)
    assert list(splits) == list(archives.SIZES)[: 3 if name == "svhn_cropped" else 2]
    for split, examples in splits.items():
        images = (archives.GREY if grey else archives.COLOUR)[split]
        order = key_order[split]
        assert [example["label"] for example in examples] == list(
            archives.LABELS[split][order]
        )
        np.testing.assert_array_equal(
            [example["image"] for example in examples], images[order]
        )
        if not grey:
            digits = 6 if name == "svhn_cropped" else 5
            assert [example["id"].decode() for example in examples] == [
                f"{split}_{key:0{digits}}" for key in order
            ]
        if name == "cifar100":
            assert [example["coarse_label"] for example in examples] == list(
                archives.COARSE_LABELS[split][order]
            )


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("cifar10", "3.0.2"),
        ("cifar100", "3.0.2"),
        ("mnist", "3.0.1"),
        ("fashion_mnist", "3.0.1"),
        ("svhn_cropped", "3.1.0"),
    ],
)
def test_prepares_what_the_archives_hold_in_the_order_of_tfds(
    name, version, server, tmp_path, key_order, capsys
):
    folder = prepare(name, tmp_path)
    assert folder == tmp_path / name / version
    assert capsys.readouterr() == (f"{name} is prepared in {folder}.\n", "")
    _assert_holds(name, tmp_path, key_order)
    expected = [(f"/{name}/{file}", None) for file in archives.ARCHIVES[name]]
    assert server.requests == expected
    info = json.loads((folder / "dataset_info.json").read_text())
    size = sum(len(content) for content in archives.ARCHIVES[name].values())
    assert info["name"] == name
    assert info["fileFormat"] == "array_record"
    assert info["moduleName"].startswith("tensorflow_datasets.")
    assert info["downloadSize"] == str(size)


def test_classes_are_named_by_the_archive(server, tmp_path):
    for name, feature, classes in (
        ("cifar10", "label", archives.CLASSES),
        ("cifar100", "label", archives.FINE_CLASSES),
        ("cifar100", "coarse_label", archives.COARSE_CLASSES),
    ):
        prepare(name, tmp_path)
        features: Any = tfds.builder(name, data_dir=tmp_path).info.features
        assert features[feature].names == classes


def test_names_and_archives_are_those_of_tfds():
    assert registered("cifar10") == [
        Archive(
            "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
            170052171,
            "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        )
    ]
    for name in NAMES:
        names = [archive.name for archive in registered(name)]
        assert sorted(names) == sorted(archives.ARCHIVES[name])


def test_without_array_record_the_format_is_parquet(
    server, tmp_path, key_order, monkeypatch
):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "array_record" else find_spec(name, *rest),
    )
    folder = prepare("mnist", tmp_path)
    assert {file.suffix for file in folder.iterdir()} > {".json"}
    assert any("parquet" in file.name for file in folder.iterdir())
    _assert_holds("mnist", tmp_path, key_order)


@pytest.mark.parametrize("stalls", [False, True])
@pytest.mark.parametrize("ranges", [True, False])
def test_a_broken_download_is_continued(
    ranges, stalls, server, tmp_path, key_order, monkeypatch
):
    monkeypatch.setattr(module, "TIMEOUT", 0.5)
    server.breaks_after, server.stalls = 1000, stalls
    message = (
        f"{server.root}/mnist/{FIRST} broke off after 1000 of {len(CONTENT)} bytes; "
        f".* {tmp_path}/downloads/mnist/{FIRST}"
    )
    with pytest.raises(UsageError, match=message):
        prepare("mnist", tmp_path)
    downloads = tmp_path / "downloads" / "mnist"
    assert [file.name for file in downloads.iterdir()] == [f"{FIRST}.partial"]
    assert (downloads / f"{FIRST}.partial").read_bytes() == CONTENT[:1000]
    assert not (tmp_path / "mnist").exists()

    server.breaks_after, server.stalls, server.ranges = None, False, ranges
    prepare("mnist", tmp_path)
    assert server.requests[1] == (f"/mnist/{FIRST}", "bytes=1000-")
    assert {file.name for file in downloads.iterdir()} == set(
        archives.ARCHIVES["mnist"]
    )
    _assert_holds("mnist", tmp_path, key_order)


def test_a_download_that_lacks_only_its_name_is_not_repeated(server, tmp_path):
    archives.replicate(tmp_path / "downloads", "mnist")
    whole = tmp_path / "downloads" / "mnist" / FIRST
    whole.rename(f"{whole}.partial")
    prepare("mnist", tmp_path)
    assert server.requests == []


def test_a_wrong_checksum_is_refused_and_removed(server, tmp_path, key_order):
    server.files[f"/mnist/{FIRST}"] = CONTENT[:-1] + b"?"
    found = archives.sha256(CONTENT[:-1] + b"?")
    expected = archives.sha256(CONTENT)
    message = f"{server.root}/mnist/{FIRST} .* sha256 {expected}, got {found}; .* again"
    with pytest.raises(UsageError, match=message):
        prepare("mnist", tmp_path)
    assert list((tmp_path / "downloads" / "mnist").iterdir()) == []
    server.files[f"/mnist/{FIRST}"] = CONTENT
    prepare("mnist", tmp_path)
    _assert_holds("mnist", tmp_path, key_order)


def test_another_file_is_refused_before_it_replaces_a_partial_one(server, tmp_path):
    partial = tmp_path / "downloads" / "mnist" / f"{FIRST}.partial"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(CONTENT[:1000])
    server.ranges = False
    server.files[f"/mnist/{FIRST}"] = b"<html>Please log in</html>"
    message = f"{FIRST} .* offers 26 bytes where TFDS knows {len(CONTENT)}"
    with pytest.raises(UsageError, match=message):
        prepare("mnist", tmp_path)
    assert partial.read_bytes() == CONTENT[:1000]


def test_a_missing_file_is_an_error_of_one_line(server, tmp_path):
    del server.files[f"/mnist/{FIRST}"]
    with pytest.raises(UsageError, match=f"{FIRST} .* HTTP 404 .* by hand to") as error:
        prepare("mnist", tmp_path)
    assert "\n" not in str(error.value)


def test_archives_in_place_need_no_network(server, tmp_path, key_order):
    archives.replicate(tmp_path / "elsewhere", "mnist")
    prepare("mnist", tmp_path, tmp_path / "elsewhere")
    assert server.requests == []
    _assert_holds("mnist", tmp_path, key_order)


def test_a_wrong_archive_in_place_is_refused_and_left_to_its_owner(server, tmp_path):
    archives.replicate(tmp_path / "downloads", "mnist")
    path = tmp_path / "downloads" / "mnist" / FIRST
    path.write_bytes(CONTENT[:-1])
    message = f"{path} is not .* expected {len(CONTENT)} bytes, got {len(CONTENT) - 1}"
    with pytest.raises(UsageError, match=message):
        prepare("mnist", tmp_path)
    assert path.exists()
    assert server.requests == []


def _refused(server, monkeypatch):
    server.shutdown()
    server.server_close()


def _silent(server, monkeypatch):
    server.breaks_after, server.stalls = 0, True


def _nameless(server, monkeypatch):
    def fail(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (_refused, "refused"),
        (_silent, "no answer within 0.5 seconds"),
        (_nameless, "Name or service not known"),
    ],
)
def test_a_host_that_does_not_answer_is_one_error(
    fault, reason, server, tmp_path, monkeypatch
):
    monkeypatch.setattr(module, "TIMEOUT", 0.5)
    fault(server, monkeypatch)
    message = f"{server.root}/mnist/{FIRST} .*{reason}.* by hand to {tmp_path}"
    with pytest.raises(UsageError, match=message) as error:
        prepare("mnist", tmp_path)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "mnist").exists()


KILLED = """
import os, signal, sys
from pathlib import Path
from benchmarks.data import prepare
from tests.helpers import archives

def dying(**kwargs):
    for key, example in mnist(**kwargs):
        if key == 2 and "t10k" in str(kwargs["data_path"]):
            os.kill(os.getpid(), signal.SIGKILL)
        yield key, example

prepare.registered = archives.registered
mnist = prepare._EXAMPLES["mnist"]
prepare._EXAMPLES["mnist"] = dying
prepare.prepare("mnist", Path(sys.argv[1]))
"""


def test_a_killed_preparation_starts_anew(server, tmp_path, key_order):
    archives.replicate(tmp_path / "downloads", "mnist")
    ended = subprocess.run([sys.executable, "-c", KILLED, tmp_path], cwd=ROOT)
    assert ended.returncode == -signal.SIGKILL
    written = [file.name for file in (tmp_path / "mnist").glob("*/*")]
    assert any("train" in name for name in written)  # it was under way
    assert not tfds.builder("mnist", data_dir=tmp_path).is_prepared()
    prepare("mnist", tmp_path)
    _assert_holds("mnist", tmp_path, key_order)


@pytest.mark.parametrize("error", [OSError, RuntimeError])
def test_a_full_disk_is_one_error_and_leaves_nothing(
    error, server, tmp_path, monkeypatch
):
    mnist = module._EXAMPLES["mnist"]

    def failing(**kwargs):
        yield from mnist(**kwargs)
        raise error("No space left on device")

    monkeypatch.setitem(module._EXAMPLES, "mnist", failing)
    with pytest.raises(UsageError, match="mnist cannot be prepared: .*No space left"):
        prepare("mnist", tmp_path)
    assert list((tmp_path / "mnist").iterdir()) == []


def test_prepared_once_is_enough(server, tmp_path, capsys):
    folder = prepare("mnist", tmp_path)
    server.requests.clear()
    capsys.readouterr()
    files = {file: file.stat().st_mtime_ns for file in folder.iterdir()}
    assert prepare("mnist", tmp_path) == folder
    assert capsys.readouterr().out == f"mnist is already prepared in {folder}.\n"
    assert server.requests == []
    assert {file: file.stat().st_mtime_ns for file in folder.iterdir()} == files


def test_a_set_that_only_tensorflow_reads_is_refused(server, tmp_path):
    path = prepare("mnist", tmp_path) / "dataset_info.json"
    info = json.loads(path.read_text())
    path.write_text(json.dumps(info | {"fileFormat": "tfrecord"}))
    with pytest.raises(UsageError, match="mnist/3.0.1 is in the tfrecord format"):
        prepare("mnist", tmp_path)


def test_a_folder_in_the_way_is_refused(server, tmp_path):
    (tmp_path / "mnist" / "3.0.1").mkdir(parents=True)
    with pytest.raises(UsageError, match="holds no prepared data set"):
        prepare("mnist", tmp_path)
    assert server.requests == []


def test_a_file_in_place_of_a_folder_is_refused(server, tmp_path):
    (tmp_path / "data").write_text("")
    with pytest.raises(UsageError, match="mnist cannot be prepared: .*data"):
        prepare("mnist", tmp_path / "data")


def test_an_unknown_name_is_refused(tmp_path):
    with pytest.raises(UsageError, match="'cifar' .*choose from cifar10, cifar100, mn"):
        prepare("cifar", tmp_path)
