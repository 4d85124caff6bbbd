"""What every data set is, whatever it holds and however it is read."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from benchmarks.data.preprocessing import Pixels, Preprocessing
from benchmarks.errors import UsageError


class Split(NamedTuple):
    """Examples and what to predict of them.

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
    """A data set in memory.

    Attributes:
      train: The training split.
      test: The test split.
      preprocessing: Makes the inputs of a network from those of a split.
    """

    train: Split
    test: Split
    preprocessing: Preprocessing


@dataclass(frozen=True)
class Stream(ABC):
    """A data set that is read while training.

    Attributes:
      preprocessing: Makes the inputs of a network from those of a batch.
    """

    preprocessing: Pixels

    @abstractmethod
    def train_batches(
        self, batch_size: int, seed: int, first_step: int, shard: tuple[int, int]
    ) -> Iterator[Split]:
        """Yield this process' share of the training batches, without end.

        An epoch is train_size // batch_size steps. The images left over are not seen
        in it; the next epoch, in another order, leaves out others.

        Args:
          batch_size: Images per step over all processes, a multiple of their number.
          seed: Determines the order and the augmentation.
          first_step: Where to begin. The batch of a step depends on the seed and the
            step alone, so that a run goes on exactly where it was interrupted.
          shard: The number of this process and how many there are. Process i of n gets
            the rows from i * batch_size / n to (i + 1) * batch_size / n.
        """

    @abstractmethod
    def test_batches(
        self, batch_size: int, shard: tuple[int, int]
    ) -> Iterator[tuple[Split, np.ndarray]]:
        """Yield this process' share of the test batches, and which of its rows count.

        Each test image counts once over all processes. All processes get as many
        batches, all of one size; rows that fill up the last one do not count.

        Args:
          batch_size: Images per step over all processes, a multiple of their number.
          shard: The number of this process and how many there are.
        """


@dataclass(frozen=True)
class Source:
    """A data set that was found but not read yet.

    Attributes:
      name: Its name on the command line.
      train_size: Number of training examples.
      test_size: Number of test examples.
      input_shape: Height, width and channels; or the length of a text.
      classes: Number of classes, or of different characters; 0 if the labels are
        targets.
      kind: What the inputs are; arrays are the user's own, which are taken as they are.
      read: Reads it into memory or opens the stream.
      resident: Whether it is read into memory as a whole.
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
    """Refuse a label that is no class.

    Args:
      where: The data set, and which part of it.
      label: The label.
      classes: Number of classes.

    Raises:
      UsageError: If the label is out of range.
    """
    if not 0 <= label < classes:
        raise UsageError(
            f"--dataset {where} has the label {label}, but labels must be in "
            f"[0, {classes}); prepare it again."
        )


def unreadable(where: str, error: Exception) -> UsageError:
    """Make the error that tells of an example that cannot be read.

    Args:
      where: The data set, the split and the index.
      error: What went wrong.

    Returns:
      The error, to be raised.
    """
    return UsageError(
        f"--dataset {where} cannot be read ({type(error).__name__}: {error}); "
        "prepare it again."
    )
