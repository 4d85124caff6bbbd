"""Buffalo's slides: L-BFGS, initial weights, learning rate decay, Santa."""

from dataclasses import replace

from benchmarks.experiments.settings import PLAIN, SUBSET
from benchmarks.experiments.types import BUFFALO, Comparison, Experiment


def make_lbfgs() -> dict[str, Experiment]:
    """Build L-BFGS on full batches, where the slides praise it, and mini-batches."""
    both = ("model=logistic,mlp",)
    plain = replace(PLAIN, optimizers=("lbfgs",), recipe=(), seeds=3)
    return {
        "lbfgs-full-batch": Experiment(
            replace(plain, batch_size=60_000, epochs=60),
            "Does L-BFGS work well in full batches? Buffalo's slides. A step has one "
            "gradient and up to 20 more of the line search.",
            "A lower training loss after 60 steps than AdaGrad-Norm and SGD at their "
            "best in b0-logistic-batch and b0-mlp-batch.",
            better="Training loss after the last epoch, paired by seed, against the "
            "best b0 of AdaGrad-Norm and the best rate of SGD: holds if it is lower "
            "than both on both networks (95 % intervals below 0).",
            grid=both,
            limits="Steps are compared, not time: a line search costs several.",
        ),
        "lbfgs-mini-batch": Experiment(
            replace(plain, epochs=5),
            "Does L-BFGS give bad results in mini-batches? Buffalo's slides.",
            "On logistic regression no: 91.4 % in a pilot of two epochs. On two layers "
            "open.",
            better="Test accuracy after the last epoch, paired by seed, against the "
            "best rate of SGD after five epochs in b0-logistic and b0-mlp. Bad: lower "
            "by more than 0.5 points (95 % interval), or diverged, on both networks.",
            grid=both,
            limits="The line search sees the mini-batch of its step only.",
        ),
    }


def make_initializers_and_decay() -> dict[str, Experiment]:
    """Build the slides' comparisons of initial weights and learning rate decay."""
    decay = replace(
        SUBSET,
        optimizers=("momentum",),
        epochs=30,
        final_share=0.01,
        seed=0,
        seeds=3,
        diagnostics=False,
    )
    return {
        "initializers": Experiment(
            replace(PLAIN, model="mlp-5", optimizers=("momentum",), epochs=1, seeds=3),
            "Do the initial weights decide whether training converges? Buffalo's "
            "slides: Gaussian, Xavier, He, sparse, orthogonal, PyTorch's; five dense "
            "layers.",
            "Gaussian weights of 0.01 stay near chance, for the signal dies out over "
            "five layers; the others converge.",
            better="Test accuracy after an epoch. Holds if at one of the two rates an "
            "initializer stays below 20 % in all seeds where another is above 90 % in "
            "all seeds.",
            grid=(
                "initializer=gaussian,xavier-normal,he-normal,sparse,orthogonal,torch",
                "learning_rate=0.1,0.01",
            ),
            limits="One epoch: what is slow looks like what never converges.",
        ),
        "decay-schemes": Experiment(
            decay,
            "Which decay of the learning rate is best at an equal budget? Chen's "
            "lecture: linear, multi-stage, exponential, 1/t; with cosine and none.",
            "All decays better than a constant rate; cosine and linear the best.",
            better="Mean test accuracy after the last epoch, paired by seed, each "
            "scheme against the constant rate: better if the 95 % interval is above 0, "
            "Holm's correction over the five.",
            grid=(
                "schedule=constant,linear,multi-stage,exponential,inverse-time,cosine",
            ),
            limits="One initial rate, 0.1, not tuned; all but multi-stage and constant "
            "end at 1 % of it. Read on the test set: it compares, it does not choose.",
            claims=_claim_decay_schemes(),
        ),
    }


def make_santa() -> dict[str, Experiment]:
    """Build the comparison of Santa with SGD with momentum and RMSProp."""
    return {
        "santa-mlp": Experiment(
            replace(
                PLAIN,
                model="mlp",
                optimizers=("santa-e", "santa-sss", "momentum", "rmsprop"),
                recipe=("momentum:weight_decay=0", "rmsprop:weight_decay=0"),
                epochs=5,
                seeds=3,
            ),
            "Does Santa train better than existing optimizers? Buffalo's slides, after "
            "Chen et al. 2016; a feed-forward network for MNIST.",
            "Test accuracies alike; the slides say that Santa performs better, on "
            "ImageNet.",
            better="Test accuracy after the last epoch, at the best of five rates by "
            "training loss, paired by seed, margin 0.5 points: each Santa against SGD "
            "with momentum and RMSProp, better if the interval is above 0; Holm's "
            "correction over the four.",
            grid=("learning_rate=*0.1,*0.316,*1,*3.16,*10",),
            limits="Five epochs, half of them exploration; one small network.",
            view="lowest losses",
            claims=_claim_santa(),
        ),
    }


_FITTED = (("momentum", "SGD with momentum"), ("adam", "Adam"), ("padam", "Padam"))


def claim_fall_after_fitting() -> list[Comparison]:
    """List the claims that the test error still falls once the train error is 0."""
    return [
        Comparison(
            f"Test error still falls after the train error of {say} is 0",
            BUFFALO,
            f"digits/{x}",
            "",
            "better",
            "fall_after_0",
            "digits",
            "test error after 0",
            after_results=True,
        )
        for x, say in _FITTED
    ]


def _claim_decay_schemes() -> list[Comparison]:
    schemes = ("linear", "multi-stage", "exponential", "inverse-time", "cosine")
    return [
        Comparison(
            f"A learning rate with {scheme} decay ends better than a constant one",
            f"{BUFFALO}, asked for",
            f"decay-schemes/momentum schedule={scheme}",
            "decay-schemes/momentum schedule=constant",
            "better",
            "end",
            "subset, 30 epochs",
            "decay-schemes",
        )
        for scheme in schemes
    ]


def _claim_santa() -> list[Comparison]:
    """Compare each Santa, every optimizer at the rate with the lowest train loss."""
    return [
        Comparison(
            f"{label} ends better than {other}",
            BUFFALO,
            f"santa-mlp/{name} learning_rate=best",
            f"santa-mlp/{second} learning_rate=best",
            "better",
            "end",
            "two layers, MNIST",
            "santa-mlp",
            by_train_loss=True,
        )
        for name, label in (("santa-e", "Santa-E"), ("santa-sss", "Santa-SSS"))
        for second, other in (
            ("momentum", "SGD with momentum"),
            ("rmsprop", "RMSProp"),
        )
    ]
