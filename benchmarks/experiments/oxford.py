"""Oxford's slides: AdaGrad-Norm's robustness to b0, and the figures of Adam's paper."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from benchmarks.experiments.settings import PLAIN
from benchmarks.experiments.types import OXFORD, Comparison, Experiment

# All 60,000 images at once: an epoch is a step.
_BATCH = replace(PLAIN, batch_size=60_000, epochs=60, seeds=3)
_LENET = replace(PLAIN, dataset="cifar10", model="lenet", epochs=3, seeds=3)
_DECADES = "0.001,0.01,0.1,1,10,100,1000"
_TRAINS = (
    "For how many values of b0 the final train loss comes at least half of the way "
    "from that of guessing to the lowest that any of the methods reaches."
)

_PER_METHOD = "learning_rate=*0.316,*1,*3.16"
_TRAINED = (
    "Mean training loss of the last epoch, as it is recorded while training, each "
    "optimizer at the best of its learning rates by that loss. Better: the whole 95 % "
    "interval of the paired difference of its logarithm is below 0."
)
_SIX = ("adagrad", "rmsprop", "nesterov", "adadelta", "adam", "padam")


def make_robustness() -> dict[str, Experiment]:
    """Build the comparisons of AdaGrad-Norm with SGD with the steps 1/b0."""
    rows = {}
    for name, config, text in (
        ("logistic-batch", _BATCH, "figure 1: logistic regression, whole batches"),
        (
            "logistic",
            replace(PLAIN, seeds=3),
            "figure 2: logistic regression, mini-batches",
        ),
        (
            "mlp-batch",
            replace(_BATCH, model="mlp"),
            "figure 1: two fully connected layers, whole batches",
        ),
        (
            "mlp",
            replace(PLAIN, model="mlp", seeds=3),
            "figure 2: two fully connected layers, mini-batches",
        ),
        ("lenet", _LENET, "figure 3: LeNet on CIFAR-10"),
        (
            "resnet18",
            replace(_LENET, model="resnet18", epochs=10, seeds=1),
            "figure 3: ResNet-18 on CIFAR-10",
        ),
    ):
        rows[f"b0-{name}"] = Experiment(
            replace(config, diagnostics=True),
            f"Is AdaGrad-Norm robust to b0? Oxford's slides, {text}.",
            "Flat over many decades of b0 where SGD with the steps 1/b0 and 1/(b0 √k) "
            "is not.",
            better=_TRAINS,
            grid=(f"b0={_DECADES}",),
            view="robustness",
            baseline=(f"b0-{name}-sgd/sgd",),
        )
        rows[f"b0-{name}-sgd"] = Experiment(
            replace(config, optimizers=("sgd",)),
            f"What b0-{name} is compared with: SGD with the steps 1/b0 and 1/(b0 √k).",
            "Good for one or two decades of b0.",
            better=_TRAINS,
            grid=(f"learning_rate={_DECADES}", "schedule=constant,inverse-sqrt"),
            within=f"b0-{name}",
        )
    return rows


def make_adam_figures() -> dict[str, Experiment]:
    """Build the figures of Adam's paper that Oxford's slides show."""
    mnist = replace(PLAIN, model="mlp-3", optimizers=_SIX, epochs=4, seeds=2)
    common: Any = {
        "better": _TRAINED,
        "grid": (_PER_METHOD,),
        "limits": "A few epochs of constant learning rates, no weight decay; the "
        "published curves go on for 45 to 200 epochs. Three rates each: where the best "
        "is at an edge, one beyond may be better. SFO is left out.",
        "view": "lowest losses",
    }
    question = "Does Adam train a network of two hidden layers of 1000 units fastest"
    return {
        "adam-mnist": Experiment(
            mnist,
            f"{question}? Oxford's slides, figure 2b of Kingma and Ba 2015.",
            "The lowest training loss for Adam; no claim of the source about Padam.",
            claims=_claim_fastest("adam-mnist", "2b", "dense, MNIST"),
            **common,
        ),
        "adam-mnist-dropout": Experiment(
            replace(mnist, model="mlp-3-dropout"),
            f"{question}, with dropout? Oxford's slides, figure 2a of Kingma and Ba "
            "2015; the rate of 1/2 on hidden units is a guess.",
            "The lowest training loss for Adam, by more than without dropout.",
            claims=_claim_fastest(
                "adam-mnist-dropout", "2a", "dense with dropout, MNIST"
            ),
            **common,
        ),
        "adam-cifar10": Experiment(
            replace(
                mnist,
                dataset="cifar10",
                side=16,
                model="adam-cnn",
                width=16,
                optimizers=("adagrad", "nesterov", "adam", "padam"),
                epochs=3,
            ),
            "Does Adam train the network c64-c64-c128-1000 fastest in the first three "
            "epochs? Oxford's slides, figure 3 of Kingma and Ba 2015, left; a quarter "
            "of the width, on images of 16x16 pixels, not whitened.",
            "Adam and AdaGrad ahead of SGD with Nesterov's momentum.",
            claims=_claim_fastest(
                "adam-cifar10", "3", "CNN, CIFAR-10", ("adagrad", "nesterov")
            ),
            **common,
        ),
    }


_LABELS = {
    "adagrad": "AdaGrad",
    "rmsprop": "RMSProp",
    "nesterov": "SGD with Nesterov's momentum",
    "adadelta": "AdaDelta",
}


def _claim_fastest(
    experiment: str, figure: str, scale: str, others: Iterable[str] = _LABELS
) -> list[Comparison]:
    """Compare Adam's train loss with the others', each at its best learning rate."""
    return [
        Comparison(
            f"Adam trains faster than {_LABELS[other]}: a lower train loss",
            f"{OXFORD}, after Kingma and Ba 2015, figure {figure}",
            f"{experiment}/adam learning_rate=best",
            f"{experiment}/{other} learning_rate=best",
            "better",
            "log_loss",
            scale,
            experiment,
            by_train_loss=True,
        )
        for other in others
    ]
