"""CIFAR-10 for a few epochs: the effect of p, learning rate and bias correction."""

import itertools
from dataclasses import replace

from benchmarks.experiments.settings import FOUR, SHORT, SMALL, SMALLER
from benchmarks.experiments.slides import (
    FALLING_P_IS_BETTER,
    claim_choice_of_p,
    claim_table,
)
from benchmarks.experiments.types import (
    GU,
    PACKAGE,
    SOUTHAMPTON,
    THEOREM,
    Comparison,
    Experiment,
)
from benchmarks.training.config import TrainConfig


def _claim_dilemma() -> list[Comparison]:
    """List the claims about the small-learning-rate dilemma."""
    ps = (("1/2", "0.5"), ("1/4", "0.25"), ("1/8", "0.125"), ("1/16", "0.0625"))
    wider = [
        Comparison(
            f"p = {large} spreads the effective rates wider than p = {small}",
            f"{GU}; by construction log v̂^p has p times the spread of log v̂",
            f"dilemma/padam p={a}",
            f"dilemma/padam p={b}",
            "better",
            "spread",
            "small",
            "dilemma spread",
            THEOREM,
        )
        for (large, a), (small, b) in itertools.pairwise(ps)
    ]
    large, small = "dilemma/padam", "dilemma-small-rate/padam"
    return [
        *wider,
        *(
            Comparison(
                f"{claim} learning rate: 0.1 is {relation} than 0.001",
                GU,
                f"{large} p={p}",
                f"{small} p={p}",
                relation,
                scale="small",
                family="dilemma rate",
            )
            for claim, p, relation in (
                ("p = 1/2 needs a small", 0.5, "worse"),
                ("p = 1/8 bears a large", 0.125, "better"),
            )
        ),
        Comparison(
            "Padam with p = 1/4 ends at least as good as SGD with momentum",
            GU,
            f"{large} p=0.25",
            "dilemma-sgd/momentum",
            "at least as good",
            scale="small",
            after_results=True,
        ),
        Comparison(
            "SGD with momentum ends as far from the initial weights as Padam, p = 1/8",
            f"{GU}, figure of ‖θ - θ₀‖",
            "dilemma-sgd/momentum",
            f"{large} p=0.125",
            "alike",
            "distance",
            "small",
            after_results=True,
        ),
        *claim_choice_of_p("dilemma", "small", existed=True),
    ]


def _alike(claim: str, first: str, second: str, scale: str, family: str) -> Comparison:
    """Make a claim of this package that two methods end alike."""
    return Comparison(
        claim,
        "this package",
        first,
        second,
        "alike",
        scale=scale,
        family=family,
        kind=PACKAGE,
    )


def _claim_uncorrected() -> list[Comparison]:
    """List the claims about Padam without the authors' correction."""
    name = "small-image-cifar10"
    rows = (
        (
            "At p = 1/8 the correction 'none' ends like the authors', with its hidden "
            "warm-up",
            "padam",
            "alike",
            "end",
        ),
        (
            "At p = 1/8 the correction 'none' is ahead of the authors' after a quarter",
            "padam",
            "better",
            "quarter",
        ),
        (
            "Padam without the authors' correction ends at least as good as SGD with "
            "momentum",
            "momentum",
            "at least as good",
            "end",
        ),
    )
    return [
        Comparison(
            claim,
            "this package",
            f"{name}/padam-uncorrected",
            f"{name}/{second}",
            relation,
            quantity,
            "small images",
            kind=PACKAGE,
        )
        for claim, second, relation, quantity in rows
    ]


SMALL_RUNS: dict[str, Experiment] = {
    "p-and-learning-rate": Experiment(
        replace(
            SMALL, model="resnet18", width=4, optimizers=("padam",), epochs=4, seeds=1
        ),
        "How do p and the learning rate depend on each other? Figures 2 and 3 of the "
        "Southampton report, on a ResNet-18 a sixteenth as wide.",
        "The larger p, the smaller the best learning rate.",
        grid=("p=0.25,0.125,0.0625", "learning_rate=0.1,0.01,0.001"),
        limits=SHORT,
    ),
    "dilemma": Experiment(
        SMALLER,
        "The small-learning-rate dilemma: how far the effective learning rates spread "
        "for each p, and how far the weights still move after each decay.",
        "The larger p, the wider the spread, and the smaller the learning rate must "
        "be; then late epochs move little.",
        better="The decades between the 5 % and 95 % quantiles of the effective "
        "learning rates at the end, and the test accuracy then.",
        grid=("p=0.5,0.25,0.125,0.0625",),
        baseline=("dilemma-sgd/momentum", "dilemma-small-rate/padam"),
        limits=SHORT,
        view="rates",
        claims=_claim_dilemma(),
    ),
    "dilemma-sgd": Experiment(
        replace(SMALLER, optimizers=("momentum",)),
        "What dilemma is compared with.",
        "As far from the initial weights as Padam with small p.",
        within="dilemma",
    ),
    "dilemma-small-rate": Experiment(
        replace(SMALLER, recipe=("learning_rate=0.001",), seeds=2),
        "The other side of the dilemma: a hundredth of the learning rate.",
        "Right for p = 1/2, too small for p = 1/8.",
        grid=("p=0.5,0.125",),
        within="dilemma",
    ),
    "falling-p": Experiment(
        replace(SMALLER, optimizers=("padam-falling",)),
        "Is a p that falls, while the learning rate rises, better than the best "
        "constant p? Proposed by the Southampton report. From AMSGrad's p and rate to "
        "Padam's within the first 30 %.",
        "None published.",
        baseline=("dilemma/padam", "dilemma-small-rate/padam p=0.5"),
        limits=SHORT,
        claims=(
            Comparison(
                FALLING_P_IS_BETTER,
                SOUTHAMPTON,
                "falling-p/padam-falling",
                "dilemma/padam p=best",
                "better",
                scale="small",
            ),
        ),
    ),
    "correction": Experiment(
        SMALLER,
        "Does the warm-up hidden in the authors' bias correction matter at p = 1/8?",
        "None published.",
        grid=("bias_correction=none,consistent",),
        baseline=("dilemma/padam p=0.125",),
        limits=SHORT,
        claims=[
            _alike(
                f"At p = 1/8 the correction {name!r} ends like the authors', with its "
                "hidden warm-up",
                f"correction/padam bias_correction={name}",
                "dilemma/padam p=0.125",
                "small",
                "correction",
            )
            for name in ("none", "consistent")
        ],
    ),
    "few-bits-cifar10": Experiment(
        replace(SMALL, optimizers=("padam-compressed",)),
        "Does Padam train as well with its state in 8 bits?",
        "Within the seeds' spread of float32.",
        baseline=("small-cifar10/padam",),
        claims=(
            _alike(
                "Moments in 8 bits end like float32",
                "few-bits-cifar10/padam-compressed",
                "small-cifar10/padam",
                "small",
                "",
            ),
        ),
    ),
    "few-bits-digits": Experiment(
        TrainConfig(optimizers=("padam-compressed",), seeds=5),
        "Does Padam train as well with its state in 8 or 16 bits?",
        "Within the seeds' spread of float32.",
        grid=("format=8-bit,16-bit",),
        baseline=("digits/padam",),
        claims=[
            _alike(
                f"Moments in {bits} bits end like float32",
                f"few-bits-digits/padam-compressed format={bits}-bit",
                "digits/padam",
                "digits",
                "few bits digits",
            )
            for bits in (8, 16)
        ],
    ),
    "small-image-cifar10": Experiment(
        replace(
            SMALL,
            side=16,
            epochs=50,
            seeds=2,
            optimizers=(*FOUR, "padam-uncorrected"),
            diagnostics=True,
        ),
        "The slides' table on all of CIFAR-10 at 16x16 pixels: is Padam quick at first "
        "and good at last? With a first decay at epoch 15 and six times the epochs of "
        "small-cifar10, and Padam also without the authors' correction, whose warm-up "
        "is a large part of a short run.",
        "Padam ends as well as SGD with momentum, Adam and AMSGrad worse; after a "
        "quarter Padam is ahead of SGD. Without the correction it is ahead of Padam "
        "with it early, and alike at the end.",
        better="Mean test accuracy after the last epoch; early: after epoch 12. A "
        "third seed is run if a row is undecided with two.",
        limits="One network of 73,000 weights, fewer than two for each image: it "
        "does not fit its training set, which the published ones do. Nothing is tuned.",
        claims=(
            *claim_table("small-image-cifar10", "small images"),
            *_claim_uncorrected(),
        ),
    ),
}
