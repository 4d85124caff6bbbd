"""Text for character-level language models."""

import warnings
from typing import Any

import numpy as np

from benchmarks.data.preprocessing import Tokens
from benchmarks.data.types import Dataset, Source, Split
from benchmarks.errors import UsageError

# Characters in a window.
LENGTH = 128


def find_text(name: str, builder: Any) -> Source:
    """Find a TFDS text data set, with the splits train and test, that fits into memory.

    The vocabulary is the sorted distinct bytes of the training split. Each text is cut
    into windows that do not overlap; the rest at its end is not used. Test windows with
    a byte outside the vocabulary are dropped with a warning: no network could predict
    it.
    """
    texts = {
        split: [
            np.frombuffer(x.encode() if isinstance(x, str) else bytes(x), np.uint8)
            for x in (example["text"] for example in builder.as_data_source(split))
        ]
        for split in ("train", "test")
    }
    vocabulary = np.unique(np.concatenate([np.empty(0, np.uint8), *texts["train"]]))
    train = _windows(name, "train", texts["train"], vocabulary)
    test = _windows(name, "test", texts["test"], vocabulary)
    return Source(
        name,
        len(train.labels),
        len(test.labels),
        (LENGTH,),
        len(vocabulary),
        "text",
        lambda: Dataset(train, test, Tokens()),
    )


def _windows(
    name: str, split: str, texts: list[np.ndarray], vocabulary: np.ndarray
) -> Split:
    """Cut texts into windows of character ids."""
    windows = []
    for text in texts:
        count = max(len(text) - 1, 0) // LENGTH
        # The last character of a window is the first of the next: only a label here.
        starts = np.arange(count)[:, None] * LENGTH
        windows.append(text[starts + np.arange(LENGTH + 1)])
    cut = np.concatenate([np.empty((0, LENGTH + 1), np.uint8), *windows])
    known = np.isin(cut, vocabulary).all(axis=1)
    if not known.all():
        warnings.warn(
            f"{np.sum(~known)} of {len(cut)} windows of {name}, {split}, are left out: "
            "they have characters that the training split has not.",
            stacklevel=2,
        )
    if not known.any():
        raise UsageError(
            f"--dataset {name} has nothing to read in {split}: no text there has "
            f"{LENGTH + 1} characters of the training split; prepare it again."
        )
    numbers = np.searchsorted(vocabulary, cut[known])
    return Split(numbers[:, :-1].astype(np.uint8), numbers[:, 1:].astype(np.int32))
