"""What a run is made of: frozen dataclasses, checked before any work starts."""

import difflib
import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).resolve().parent.parent
RUNS = ROOT / "runs"


class UsageError(Exception):
    """A request that cannot be met; its one line says what would work."""


@dataclass(frozen=True)
class TrainConfig:
    """Train one network with several optimizers and compare them.

    Every optimizer gets its published recipe, the same initial weights and the same
    batches in the same order. Without any option this trains on scikit-learn's
    digits, which need no download, in about a minute on two processor cores.
    """

    dataset: str = "digits"
    """digits (comes with scikit-learn), or a TFDS builder of images and labels:
    cifar10, cifar100, mnist, fashion_mnist, svhn_cropped, ..."""
    data_dir: Path | None = None
    """Folder with data sets prepared by TFDS in array_record format; by default
    what TFDS_DATA_DIR names, else ~/tensorflow_datasets."""
    optimizers: tuple[str, ...] = ("momentum", "adam", "amsgrad", "padam")
    """Which to compare; `python -m benchmarks list optimizers` shows all there are."""
    model: str = "vgg-small"
    """The network, from: vgg-small."""
    width: int = 16
    """Channels of the first convolutions; later ones have 2 and 4 times as many."""
    epochs: int = 100
    """Passes over the training set."""
    batch_size: int = 128
    """Images per step, over all devices together."""
    milestones: tuple[float, ...] = (0.3, 0.6, 0.8)
    """Shares of the run after which the learning rate is divided by ten."""
    augment: bool = True
    """Shift the training images at random, and mirror those of CIFAR."""
    seed: int = 0
    """Determines the initial weights, the batches and the augmentation."""
    diagnostics: bool = False
    """Record per epoch also the distance from the initial weights and, where there is
    a second moment, quantiles of the effective learning rates and the share of weights
    where the running maximum binds."""
    parallel: Literal["jit", "pmap"] = "jit"
    """jit: one device; pmap: all local devices, each with its share of a batch."""
    out: Path | None = None
    """Folder for the records and the plot; must not hold anything yet. By default
    a new one under runs/, named after the data set and the time."""

    def __post_init__(self) -> None:
        """Refuse whatever no data set and no device could make possible."""
        for argument, value in (
            ("--epochs", self.epochs),
            ("--batch-size", self.batch_size),
            ("--width", self.width),
        ):
            if value < 1:
                raise UsageError(f"{argument} must be at least 1, got {value}.")
        if not 0 <= self.seed < 2**32:
            raise UsageError(f"--seed must be in [0, 2^32), got {self.seed}.")
        if not self.optimizers:
            raise UsageError("--optimizers is empty: name at least one.")
        repeated = {o for o in self.optimizers if self.optimizers.count(o) > 1}
        if repeated:
            raise UsageError(
                f"--optimizers names {', '.join(sorted(repeated))} more than once; "
                "each may stand there once."
            )
        bounds = (0.0, *self.milestones, 1.0)
        if not all(a < b for a, b in itertools.pairwise(bounds)):
            given = " ".join(str(m) for m in self.milestones)
            raise UsageError(
                f"--milestones must rise strictly between 0 and 1, got {given}."
            )
        if self.data_dir is not None and not self.data_dir.is_dir():
            raise UsageError(
                f"--data-dir {self.data_dir} is not a folder; give the one that holds "
                "the data sets' own folders, such as cifar10/."
            )
        if self.out is not None and self.out.exists():
            if not self.out.is_dir():
                raise UsageError(f"--out {self.out} is a file; name a new folder.")
            if any(self.out.iterdir()):
                raise UsageError(
                    f"--out {self.out} is not empty; name a new folder, so that no "
                    "earlier run is overwritten."
                )


def check_name(argument: str, name: str, known: Iterable[str]) -> None:
    """Refuse a name that is not known, and say which are.

    Args:
      argument: The option it was given to, for the message.
      name: What the user wrote.
      known: What exists.

    Raises:
      UsageError: If the name is not among the known ones.
    """
    known = list(known)
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise UsageError(
            f"{argument} {name!r} does not exist{hint}; choose from {', '.join(known)}."
        )
