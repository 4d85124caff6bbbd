"""The settings of the commands that have no folder of their own."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from benchmarks.errors import UsageError


@dataclass(frozen=True)
class ListConfig:
    """Print what there is to choose from."""

    what: tyro.conf.Positional[
        Literal[
            "experiments", "gpu", "optimizers", "models", "initializers", "datasets"
        ]
    ] = "experiments"
    """experiments: what each shows, what to expect, its cost; gpu: commands for one
    GPU, which resume when they were cut off; optimizers: formula, source and recipe of
    each; models; initializers; datasets."""


@dataclass(frozen=True)
class PrepareConfig:
    """Download data sets and write them as TFDS does, without TensorFlow.

    An interrupted download is continued by the next call; archives that are there
    already are not fetched again.
    """

    names: tyro.conf.Positional[tuple[str, ...]]
    """Which: cifar10, cifar100, mnist, fashion_mnist, svhn_cropped."""
    data_dir: Path | None = None
    """Where the prepared sets go; by default where TFDS_DATA_DIR points, else
    ~/tensorflow_datasets."""
    download_dir: Path | None = None
    """Where the archives go; by default downloads/ in that folder."""


@dataclass(frozen=True)
class CompareConfig:
    """Show runs of any folders in one table and one plot, without judging claims."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Folders of `train` or `sweep`, yours or those of the project's results; they stay
    as they are."""
    out: Path = Path("compare.png")
    """The plot to write; by default compare.png in the current folder."""

    def __post_init__(self) -> None:
        """Refuse nothing to compare, and a plot that Matplotlib cannot write."""
        if not self.runs:
            raise UsageError("compare needs the folders of one or more runs.")
        if self.out.suffix not in (".png", ".svg", ".pdf"):
            raise UsageError(f"--out must end with .png, .svg or .pdf, got {self.out}.")
        if not self.out.absolute().parent.is_dir():
            raise UsageError(f"--out {self.out}: there is no such folder; create it.")
