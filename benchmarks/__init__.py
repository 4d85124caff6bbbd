"""Training runs and measurements of padam_optax: `python -m benchmarks --help`.

In Python, `compare` trains a network with several optimizers, and `with_ema` averages
the weights of one.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.comparison import compare as compare
    from benchmarks.optimizers.evaluation import with_ema as with_ema


def __getattr__(name: str) -> Any:
    # Imported on first use: not every command needs JAX and Matplotlib.
    if name == "compare":
        from benchmarks.comparison import compare

        return compare
    if name == "with_ema":
        from benchmarks.optimizers.evaluation import with_ema

        return with_ema
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
