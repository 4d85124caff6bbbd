"""The optimizers: those of the table, and the user's own by module:factory."""

from benchmarks.optimizers.find import build, lookup, make, recipe
from benchmarks.optimizers.table import OPTIMIZERS
from benchmarks.optimizers.types import Optimizer, Run

__all__ = ["OPTIMIZERS", "Optimizer", "Run", "build", "lookup", "make", "recipe"]
