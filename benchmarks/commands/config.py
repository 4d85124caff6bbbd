"""The settings of the smaller commands."""

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
    GPU, which resume if interrupted; optimizers: formula, source and recipe of each;
    models; initializers; datasets."""


@dataclass(frozen=True)
class PrepareConfig:
    """Download data sets and write them as TFDS does, without TensorFlow.

    The next call resumes an interrupted download; existing archives are not downloaded
    again.
    """

    names: tyro.conf.Positional[tuple[str, ...]]
    """Which: cifar10, cifar100, mnist, fashion_mnist, svhn_cropped."""
    data_dir: Path | None = None
    """Folder for the prepared data sets; by default TFDS_DATA_DIR, else
    ~/tensorflow_datasets."""
    download_dir: Path | None = None
    """Folder for the archives; by default downloads/ in --data-dir."""


@dataclass(frozen=True)
class CompareConfig:
    """Show runs of any folders in one table and one plot, without judging claims."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Folders of `train` or `sweep`, yours or those of the project's results; they are
    not modified."""
    out: Path = Path("compare.png")
    """The plot to write; by default compare.png in the current folder."""

    def __post_init__(self) -> None:
        """Raise an error if there are no runs, or Matplotlib cannot write the plot."""
        if not self.runs:
            raise UsageError("compare needs the folders of one or more runs.")
        if self.out.suffix not in (".png", ".svg", ".pdf"):
            raise UsageError(f"--out must end with .png, .svg or .pdf, got {self.out}.")
        if not self.out.absolute().parent.is_dir():
            raise UsageError(f"--out {self.out}: there is no such folder; create it.")
