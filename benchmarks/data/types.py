"""The types that every data set has, in memory or streamed."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from benchmarks.data.preprocessing import Pixels, Preprocessing
from benchmarks.errors import UsageError


class Split(NamedTuple):
    """Examples and their labels.

    Attributes:
      inputs: Images (n, height, width, channels) or characters (n, length), uint8; or
        arrays (n, ...) of the user's own.
      labels: Classes (n,) or the next characters (n, length), int32; or targets
        (n, ...), float32.
    """

    inputs: Any
    labels: Any


@dataclass(frozen=True)
class Dataset:
    """A data set in memory, and what turns its inputs into those of a network."""

    train: Split
    test: Split
    preprocessing: Preprocessing


@dataclass(frozen=True)
class Stream(ABC):
    """A data set that is streamed while training."""

    preprocessing: Pixels

    @abstractmethod
    def train_batches(
        self, batch_size: int, seed: int, first_step: int, shard: tuple[int, int]
    ) -> Iterator[Split]:
        """Yield this process's part of the training batches, forever.

        An epoch is train_size // batch_size steps. It skips the images left over; the
        next epoch, in another order, skips others.

        Args:
          batch_size: Images per step over all processes, a multiple of their number.
          seed: Determines the order and the augmentation.
          first_step: Where to begin. The batch of a step depends only on the seed and
            the step, so that a run resumes exactly where it was interrupted.
          shard: The index of this process and the number of processes. Process i gets
            the rows from i * batch_size / n to (i + 1) * batch_size / n.
        """

    @abstractmethod
    def test_batches(
        self, batch_size: int, shard: tuple[int, int]
    ) -> Iterator[tuple[Split, np.ndarray]]:
        """Yield this process's part of the test batches, and which of its rows count.

        Each test image counts once over all processes. All processes get as many
        batches, all of one size; rows that pad the last one do not count.

        Args:
          batch_size: Images per step over all processes, a multiple of their number.
          shard: The index of this process and the number of processes.
        """


@dataclass(frozen=True)
class Source:
    """A data set that was found but has not been read.

    Attributes:
      name: Its name on the command line.
      train_size: Number of training examples.
      test_size: Number of test examples.
      input_shape: Height, width and channels; or the length of a text.
      classes: Number of classes, or of different characters; 0 if the labels are
        targets.
      kind: What the inputs are; "arrays" are the user's own, which are not normalized.
      read: Reads it into memory or opens the stream.
      resident: Whether it is read into memory.
    """

    name: str
    train_size: int
    test_size: int
    input_shape: tuple[int, ...]
    classes: int
    kind: Literal["images", "text", "arrays"]
    read: Callable[[], Any]  # a Dataset or a Stream, as `resident` says
    resident: bool = True


def check_label(where: str, label: int, classes: int) -> None:
    """Raise an error for a label that is not a class, saying where it is."""
    if not 0 <= label < classes:
        raise UsageError(
            f"--dataset {where} has the label {label}, but labels must be in "
            f"[0, {classes}); prepare it again."
        )


def unreadable(where: str, error: Exception) -> UsageError:
    """Return the error for an example that cannot be read, saying where it is."""
    return UsageError(
        f"--dataset {where} cannot be read ({type(error).__name__}: {error}); "
        "prepare it again."
    )
