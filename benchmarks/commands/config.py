"""The settings of the commands that have no folder of their own."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro


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
