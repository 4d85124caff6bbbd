"""Claims about the figures of Adam's paper that Oxford's slides show."""

from collections.abc import Sequence

from benchmarks.reporting import results as outcomes
from benchmarks.reporting.claims import quantities
from benchmarks.reporting.claims.paired import Comparison
from benchmarks.reporting.claims.verdict import OXFORD

_LABELS = {
    "adagrad": "AdaGrad",
    "rmsprop": "RMSProp",
    "nesterov": "SGD with Nesterov's momentum",
    "adadelta": "AdaDelta",
}


def _adam_is_fastest() -> list[Comparison]:
    """Compare Adam's train loss with the others', each at the rate best by it."""
    dense = tuple(_LABELS)
    return [
        Comparison(
            f"Adam trains faster than {_LABELS[other]}: a lower train loss",
            f"{OXFORD}, after Kingma and Ba 2015, figure {figure}",
            f"{experiment}/adam learning_rate=best",
            f"{experiment}/{other} learning_rate=best",
            "better",
            quantities.LOG_LOSS,
            scale,
            experiment,
            by=outcomes.TRAIN_LOSS,
        )
        for experiment, figure, scale, others in (
            ("adam-mnist", "2b", "dense, MNIST", dense),
            ("adam-mnist-dropout", "2a", "dense with dropout, MNIST", dense),
            ("adam-cifar10", "3", "CNN, CIFAR-10", ("adagrad", "nesterov")),
        )
        for other in others
    ]


COMPARISONS: Sequence[Comparison] = tuple(_adam_is_fastest())
