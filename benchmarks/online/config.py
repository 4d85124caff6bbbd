"""The settings of `python -m benchmarks regret`."""

from dataclasses import dataclass
from pathlib import Path

from benchmarks.errors import (
    UsageError,
    check_at_least,
    check_each_once,
    check_names,
    check_out,
    check_rates,
    check_seed,
)

# The keys of the tables in games.py, examples.py and play.py, which need JAX.
GAMES = ("linear", "breast-cancer", "digits", "sparse")
EXAMPLES = ("counterexample", "phase-transition")
METHODS = ("sgd", "adagrad", "adam", "padam")


@dataclass(frozen=True)
class RegretConfig:
    """Play online convex games and compare the regret with the theorem's bound.

    Linear losses, logistic regression on breast cancer and on digits, sparse features;
    then Reddi's counterexample to Adam and the phase transition at p = 1/4, which have
    settings of their own. Each optimizer plays with every learning rate; all are
    recorded, and the one with the smallest mean regret is shown.
    """

    games: tuple[str, ...] = (*GAMES, *EXAMPLES)
    """Which to play; by default all."""
    optimizers: tuple[str, ...] = METHODS
    """Who plays; by default all. adam has no running maximum."""
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
    """Number of losses in a game, T."""
    seeds: int = 3
    """Number of games with different draws, for mean and spread."""
    seed: int = 0
    """The first of the seeds."""
    out: Path | None = None
    """Folder for the records and the plots; must not hold anything yet. By default
    a new one under runs/, named regret and the time."""

    def __post_init__(self) -> None:
        """Raise an error for settings that the theorem or the games do not allow."""
        check_names("--games", self.games, (*GAMES, *EXAMPLES))
        check_names("--optimizers", self.optimizers, METHODS)
        check_each_once("--p", self.p)
        check_each_once("--learning-rates", self.learning_rates)
        for p in self.p:
            if not 0 < p <= 0.5:
                raise UsageError(f"--p must be in (0, 1/2], got {p}.")
        check_rates(self.learning_rates)
        if not 0 < self.b2 < 1:
            raise UsageError(f"--b2 must be in (0, 1), got {self.b2}.")
        if not 0 <= self.b1 < self.b2**0.5:
            raise UsageError(
                f"--b1 must be at least 0 and less than the root of --b2, "
                f"{self.b2**0.5:g}, got {self.b1}: the bound needs b1/√b2 < 1."
            )
        if not 0 < self.b1_decay < 1:
            raise UsageError(f"--b1-decay must be in (0, 1), got {self.b1_decay}.")
        check_at_least("--steps", self.steps, 10)
        check_at_least("--seeds", self.seeds, 1)
        check_seed(self.seed, self.seeds)
        check_out(self.out)
