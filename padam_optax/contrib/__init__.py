"""Optimizers other than Padam: AdaGrad-Norm and Santa."""

from padam_optax.contrib._adagrad_norm import (
    ScaleByAdagradNormState,
    adagrad_norm,
    scale_by_adagrad_norm,
)
from padam_optax.contrib._santa import SantaState, santa

__all__ = [
    "SantaState",
    "ScaleByAdagradNormState",
    "adagrad_norm",
    "santa",
    "scale_by_adagrad_norm",
]
