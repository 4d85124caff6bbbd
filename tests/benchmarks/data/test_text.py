"""Text becomes numbered characters, and each character's label is the next one."""

import numpy as np
import pytest

from benchmarks import data
from benchmarks.data.preprocessing import Tokens
from benchmarks.errors import UsageError
from tests.helpers import tiny_text

# The distinct characters of the training text, in the order of their bytes.
VOCABULARY = "\n ,.:abehinoqrstu"


def spell(numbers):
    return "".join(VOCABULARY[number] for number in np.ravel(numbers))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tfds")
    tiny_text.prepare(folder)
    return folder


def test_windows_follow_one_another_and_labels_are_one_ahead(prepared):
    source = data.find("tiny_text", prepared)
    assert (source.kind, source.input_shape, source.classes) == ("text", (128,), 17)
    # 13 lines of 43 characters and 7 of 44, cut into windows of 128 and one more.
    assert (source.train_size, source.test_size) == (4, 2)
    dataset = source.read()
    assert dataset.preprocessing == Tokens()
    for split, name in ((dataset.train, "train"), (dataset.test, "test")):
        text = tiny_text.TEXTS[name].decode()
        length = 128 * len(split.labels)
        assert spell(split.inputs) == text[:length]
        assert spell(split.labels) == text[1 : length + 1]
        assert (split.inputs.dtype, split.labels.dtype) == (np.uint8, np.int32)


def prepare(folder, monkeypatch, **texts):
    monkeypatch.setattr(tiny_text, "TEXTS", {**tiny_text.TEXTS, **texts})
    tiny_text.prepare(folder)


def test_windows_with_unknown_characters_are_left_out_of_the_test(
    tmp_path, monkeypatch
):
    # The fourth window's last label, and so the fifth one's first input, is unknown.
    text = "be" * 256 + "Z" + "ab" * 200
    prepare(tmp_path, monkeypatch, test=text.encode())
    with pytest.warns(UserWarning, match="2 of 7 windows of tiny_text, test"):
        source = data.find("tiny_text", tmp_path)
    assert source.test_size == 5
    expected = "be" * 192 + text[640:896]
    assert spell(source.read().test.inputs) == expected


@pytest.mark.parametrize(("length", "windows"), [(128, 0), (129, 1), (256, 1)])
def test_a_window_needs_one_more_character(tmp_path, monkeypatch, length, windows):
    prepare(tmp_path, monkeypatch, test=b"b" * length)
    if windows:
        assert data.find("tiny_text", tmp_path).test_size == windows
    else:
        with pytest.raises(UsageError, match="tiny_text has nothing to read in test"):
            data.find("tiny_text", tmp_path)
