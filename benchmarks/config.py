"""What a run is made of: frozen dataclasses, checked before any work starts."""

import difflib
import itertools
import math
from collections.abc import Collection, Iterable
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
        _check_at_least("--epochs", self.epochs, 1)
        _check_at_least("--batch-size", self.batch_size, 1)
        _check_at_least("--width", self.width, 1)
        _check_seed(self.seed)
        _check_each_once("--optimizers", self.optimizers)
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
        _check_out(self.out)


@dataclass(frozen=True)
class RegretConfig:
    """Play online convex games and compare the regret with the theorem's bound.

    Linear losses, logistic regression on breast cancer and on digits, sparse features;
    then Reddi's counterexample to Adam and the phase transition at p = 1/4, which have
    settings of their own. Each optimizer plays with every learning rate; all are
    recorded, and the one with the smallest mean regret is shown.
    """

    games: tuple[str, ...] = (
        "linear",
        "breast-cancer",
        "digits",
        "sparse",
        "counterexample",
        "phase-transition",
    )
    """Which to play, from: linear, breast-cancer, digits, sparse, counterexample,
    phase-transition."""
    optimizers: tuple[str, ...] = ("sgd", "adagrad", "adam", "padam")
    """Who plays, from: sgd, adagrad, adam (no maximum), padam."""
    p: tuple[float, ...] = (0.5, 0.25, 0.125, 0.0625)
    """Padam's exponents, in (0, 1/2]; 1/2 is AMSGrad."""
    learning_rates: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
    """The α that each optimizer tries, in α_t = α/√t (adagrad: α_t = α)."""
    b1: float = 0.9
    """Decay rate β1 of the momentum at the first step, in [0, √b2)."""
    b2: float = 0.99
    """Decay rate β2 of the second moment, in (0, 1)."""
    b1_decay: float = 0.9
    """λ, in (0, 1): the momentum's decay rate at step t is b1 λ^(t-1)."""
    steps: int = 3000
    """Losses in a game, T."""
    seeds: int = 3
    """Games with other draws, over which mean and spread are taken."""
    seed: int = 0
    """The first of the seeds."""
    out: Path | None = None
    """Folder for the records and the plots; must not hold anything yet. By default
    a new one under runs/, named regret and the time."""

    def __post_init__(self) -> None:
        """Refuse what the theorem or the games do not allow."""
        _check_each_once("--games", self.games)
        _check_each_once("--optimizers", self.optimizers)
        _check_each_once("--p", self.p)
        _check_each_once("--learning-rates", self.learning_rates)
        for p in self.p:
            if not 0 < p <= 0.5:
                raise UsageError(f"--p must be in (0, 1/2], got {p}.")
        _check_rates(self.learning_rates)
        if not 0 < self.b2 < 1:
            raise UsageError(f"--b2 must be in (0, 1), got {self.b2}.")
        if not 0 <= self.b1 < self.b2**0.5:
            raise UsageError(
                f"--b1 must be at least 0 and less than the root of --b2, "
                f"{self.b2**0.5:g}, got {self.b1}: the bound needs b1/√b2 < 1."
            )
        if not 0 < self.b1_decay < 1:
            raise UsageError(f"--b1-decay must be in (0, 1), got {self.b1_decay}.")
        _check_at_least("--steps", self.steps, 10)
        _check_at_least("--seeds", self.seeds, 1)
        _check_seed(self.seed, self.seeds)
        _check_out(self.out)


@dataclass(frozen=True)
class LandscapeConfig:
    """Draw the optimizers' trajectories on five surfaces, as PNG and animated GIF.

    Beale's and Rosenbrock's valleys, a saddle, a ravine of condition number 100 and a
    valley with gradient noise. Each optimizer tries every learning rate on every
    surface; all are recorded, and the one with the lowest mean logarithm of the loss is
    drawn.
    """

    surfaces: tuple[str, ...] = ("beale", "rosenbrock", "saddle", "ravine", "noisy")
    """Which to draw, from: beale, rosenbrock, saddle, ravine, noisy."""
    optimizers: tuple[str, ...] = (
        "sgd",
        "momentum",
        "nesterov",
        "adagrad",
        "rmsprop",
        "adadelta",
        "adam",
        "amsgrad",
        "padam-1/4",
        "padam-1/8",
    )
    """Which to compare, from: sgd, momentum, nesterov, adagrad, rmsprop, adadelta,
    adam, amsgrad, padam-1/4, padam-1/8."""
    learning_rates: tuple[float, ...] = (
        1e-4,
        3e-4,
        1e-3,
        3e-3,
        1e-2,
        3e-2,
        0.1,
        0.3,
        1.0,
        3.0,
        10.0,
    )
    """What each optimizer tries."""
    steps: int = 300
    """Steps of each trajectory."""
    seeds: int = 20
    """Draws of the noise, the same for all optimizers; the first is drawn."""
    seed: int = 0
    """The first of the seeds."""
    gif: bool = True
    """Write the animation, too."""
    out: Path | None = None
    """Folder for the records and the plots; must not hold anything yet. By default
    a new one under runs/, named landscape and the time."""

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn."""
        _check_each_once("--surfaces", self.surfaces)
        _check_each_once("--optimizers", self.optimizers)
        _check_each_once("--learning-rates", self.learning_rates)
        _check_rates(self.learning_rates)
        _check_at_least("--steps", self.steps, 10)
        _check_at_least("--seeds", self.seeds, 1)
        _check_seed(self.seed, self.seeds)
        _check_out(self.out)


def _check_at_least(argument: str, value: int, least: int) -> None:
    if value < least:
        raise UsageError(f"{argument} must be at least {least}, got {value}.")


def _check_seed(seed: int, seeds: int = 1) -> None:
    if not 0 <= seed <= 2**32 - seeds:
        raise UsageError(f"--seed must be in [0, 2^32 - {seeds}], got {seed}.")


def _check_each_once(argument: str, values: Collection[object]) -> None:
    if not values or len(set(values)) < len(values):
        given = " ".join(str(value) for value in values) or "nothing"
        raise UsageError(
            f"{argument} takes one or more values, each once, got {given}."
        )


def _check_rates(rates: Iterable[float]) -> None:
    for rate in rates:
        if not 0 < rate < math.inf:
            raise UsageError(f"--learning-rates must be positive, got {rate}.")


def _check_out(out: Path | None) -> None:
    if out is None or not out.exists():
        return
    if not out.is_dir():
        raise UsageError(f"--out {out} is a file; name a new folder.")
    if any(out.iterdir()):
        raise UsageError(
            f"--out {out} is not empty; name a new folder, so that no earlier run is "
            "overwritten."
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
