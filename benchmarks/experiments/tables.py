"""The published tables of CIFAR and ImageNet, in full and at small scale."""

from dataclasses import replace

from benchmarks.experiments.buffalo import claim_fall_after_fitting
from benchmarks.experiments.settings import CIFAR10, FOUR, IMAGENET, LONG, SHORT, SMALL
from benchmarks.experiments.slides import claim_choice_of_p, claim_table
from benchmarks.experiments.types import Experiment
from benchmarks.training.config import TrainConfig

_AS_WELL = "Padam ends as well as SGD with momentum, Adam and AMSGrad worse"


def _tables() -> dict[str, Experiment]:
    """Build the tables of another reproduction and of the later paper."""
    figures = "figures are not in the documents this project starts from."
    rows = {
        f"reproduction-{dataset}": Experiment(
            replace(
                LONG, dataset=dataset, optimizers=FOUR, milestones=(0.25, 0.5, 0.75)
            ),
            "Another reproduction, Mittal et al. 2019 (arXiv 1901.09517), with VGG-16; "
            "200 epochs with the milestones 25/50/75 %.",
            f"{_AS_WELL}; the report's {figures}",
        )
        for dataset in ("cifar10", "cifar100")
    }
    for dataset in ("cifar10", "cifar100"):
        for model in ("vgg16", "resnet18", "wrn16-4"):
            rows[f"paper-{dataset}-{model}"] = Experiment(
                replace(LONG, dataset=dataset, model=model),
                "Does Padam end as well as SGD with momentum, and above the adaptive "
                "methods? Chen et al. 2020; milestones of the authors' program.",
                f"{_AS_WELL}; the paper's {figures}",
            )
    return rows


TABLES: dict[str, Experiment] = {
    "digits": Experiment(
        TrainConfig(),
        "That everything works, on data that comes along; with --seeds 5 the slides' "
        "table at small scale.",
        "None published.",
        claims=(
            *claim_table("digits", "digits", existed=True),
            *claim_fall_after_fitting(),
        ),
    ),
    "small-cifar10": Experiment(
        SMALL,
        "The slides' table at small scale: is Padam quick at first and good at last?",
        "Padam ends as well as SGD with momentum, Adam and AMSGrad worse; after a "
        "quarter Padam is ahead of SGD. None published for this network.",
        limits=SHORT,
        claims=claim_table("small-cifar10", "small", existed=True),
    ),
    "slides-cifar10": Experiment(
        CIFAR10,
        "The table of Gu's slides. They do not state the milestones: 30/60/80 fits.",
        "Padam ends as well as SGD with momentum, Adam and AMSGrad worse; after a "
        "quarter Padam is ahead of SGD.",
        published={
            "SGD + momentum": ("84.25±0.59", "91.01±0.09", "92.64±0.14", "92.72±0.08"),
            "Adam": ("87.55±0.48", "90.74±0.21", "91.43±0.36", "91.41±0.04"),
            "AMSGrad": ("88.73±0.41", "91.62±0.12", "91.87±0.07", "92.04±0.06"),
            "Padam": ("87.73±0.60", "92.11±0.27", "92.85±0.23", "92.86±0.11"),
        },
        claims=claim_table("slides-cifar10", "full, CIFAR-10"),
    ),
    "slides-cifar100": Experiment(
        replace(CIFAR10, dataset="cifar100"),
        "The table of Gu's slides. They do not state the milestones: 30/60/80 fits.",
        "As on CIFAR-10, with wider gaps.",
        published={
            "SGD + momentum": ("52.12±0.65", "66.53±0.33", "70.43±0.24", "70.78±0.11"),
            "Adam": ("52.35±0.47", "61.73±0.30", "62.18±0.15", "62.20±0.13"),
            "AMSGrad": ("58.39±0.36", "65.31±0.31", "66.32±0.25", "66.36±0.14"),
            "Padam": ("60.28±0.25", "69.69±0.30", "71.05±0.24", "71.10±0.08"),
        },
        claims=claim_table("slides-cifar100", "full, CIFAR-100"),
    ),
    **_tables(),
    "imagenet-resnet18": Experiment(
        IMAGENET,
        "ImageNet, as on Gu's slides, which show curves without figures: batch 256, "
        "100 epochs, a tenth every 30.",
        "Padam ends beside SGD with momentum, above Adam and AMSGrad.",
    ),
    "imagenet-vgg16": Experiment(
        replace(IMAGENET, model="vgg16-imagenet"),
        "The same for VGG-16.",
        "Padam ends beside SGD with momentum, above Adam and AMSGrad.",
    ),
    "imagenet-resnet50": Experiment(
        replace(IMAGENET, model="resnet50-imagenet"),
        "The same recipe on the network most others report.",
        "None published.",
    ),
    "choice-of-p": Experiment(
        replace(CIFAR10, model="resnet18", optimizers=("padam",)),
        "Which p? The grid of the paper and of Gu's slides at learning rate 0.1.",
        "p = 1/8 ends best.",
        grid=("p=0.25,0.125,0.0625",),
        claims=claim_choice_of_p("choice-of-p", "full, CIFAR-10"),
    ),
}
