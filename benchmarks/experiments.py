"""Every experiment by name: its settings, what it shows, its cost, what to expect.

Settings are those of the sources. Optimizers' own settings are the recipes in
optimizers.py.
"""

from dataclasses import dataclass, replace

from benchmarks.config import TrainConfig


@dataclass(frozen=True)
class Experiment:
    """One experiment.

    Attributes:
      config: Its settings; options on the command line replace them.
      shows: The question it answers, and where it is from.
      expected: The published result, as far as there is one.
      measured: What a run of it took, and on what.
      grid: For `sweep`: the values to combine, as the option --grid takes them.
    """

    config: TrainConfig
    shows: str
    expected: str
    measured: str = "not measured yet"
    grid: tuple[str, ...] = ()

    @property
    def cost(self) -> str:
        """How much training it is."""
        runs = len(self.config.optimizers) * self.config.seeds
        for line in self.grid:
            runs *= line.count(",") + 1
        return f"{runs} x {self.config.epochs} epochs; {self.measured}"


_FOUR = ("momentum", "adam", "amsgrad", "padam")
_SEVEN = ("momentum", "adam", "amsgrad", "adamw", "yogi", "adabelief", "padam")

_CIFAR10 = TrainConfig(dataset="cifar10", model="vgg16", optimizers=_FOUR)
_LONG = replace(_CIFAR10, epochs=200, milestones=(0.5, 0.75), optimizers=_SEVEN)
_IMAGENET = TrainConfig(
    dataset="imagenet2012",
    model="resnet18-imagenet",
    batch_size=256,
    milestones=(0.3, 0.6, 0.9),
    dtype="bfloat16",
)
_SMALL = TrainConfig(dataset="cifar10", epochs=20)
_PLAIN = TrainConfig(
    dataset="mnist",
    model="logistic",
    optimizers=("adagrad-norm",),
    recipe=("weight_decay=0",),
    schedule="constant",
    epochs=10,
    augment=False,
)
_TEXT = TrainConfig(
    dataset="tiny_shakespeare", model="lstm-2", batch_size=64, epochs=20
)

_DECADES = "0.001,0.01,0.1,1,10,100,1000"


def _tables() -> dict[str, Experiment]:
    """Build the rows of the later paper's tables: two data sets, three networks."""
    rows = {}
    for dataset in ("cifar10", "cifar100"):
        for model in ("vgg16", "resnet18", "wrn16-4"):
            rows[f"paper-{dataset}-{model}"] = Experiment(
                replace(_LONG, dataset=dataset, model=model),
                "Does Padam end as well as SGD with momentum, and above the adaptive "
                "methods? Chen et al. 2020; milestones of the authors' program.",
                "Padam and SGD with momentum within a few tenths of a point of each "
                "other, Adam and AMSGrad one to six points behind.",
            )
    return rows


EXPERIMENTS: dict[str, Experiment] = {
    "digits": Experiment(
        TrainConfig(),
        "That everything works, on data that comes along.",
        "None published.",
        "half a minute on two CPU cores",
    ),
    "small-cifar10": Experiment(
        replace(_SMALL, seeds=3),
        "The slides' table in small: is Padam quick at first and good at last?",
        "None published for this network.",
        "25 to 35 s an epoch on two CPU cores",
    ),
    "slides-cifar10": Experiment(
        _CIFAR10,
        "The table of Gu's slides. They do not state the milestones: 30/60/80 fits.",
        "Test accuracy % at epochs 25/50/75/100: SGD with momentum "
        "84.25/91.01/92.64/92.72, Adam 87.55/90.74/91.43/91.41, AMSGrad "
        "88.73/91.62/91.87/92.04, Padam 87.73/92.11/92.85/92.86.",
    ),
    "slides-cifar100": Experiment(
        replace(_CIFAR10, dataset="cifar100"),
        "The table of Gu's slides. They do not state the milestones: 30/60/80 fits.",
        "Test accuracy % at epochs 25/50/75/100: SGD with momentum "
        "52.12/66.53/70.43/70.78, Adam 52.35/61.73/62.18/62.20, AMSGrad "
        "58.39/65.31/66.32/66.36, Padam 60.28/69.69/71.05/71.10.",
    ),
    "reproduction-cifar10": Experiment(
        replace(_LONG, optimizers=_FOUR, milestones=(0.25, 0.5, 0.75)),
        "The independent reproduction (arXiv 1901.09517), VGG-16.",
        "Test accuracy %: SGD with momentum 92.95, Adam 92.39, AMSGrad 92.19, Padam "
        "93.06.",
    ),
    "reproduction-cifar100": Experiment(
        replace(
            _LONG, dataset="cifar100", optimizers=_FOUR, milestones=(0.25, 0.5, 0.75)
        ),
        "The independent reproduction (arXiv 1901.09517), VGG-16.",
        "Test accuracy %: SGD with momentum 71.54, Adam 66.65, AMSGrad 69.95, Padam "
        "72.08.",
    ),
    **_tables(),
    "imagenet-resnet18": Experiment(
        _IMAGENET,
        "The paper's ImageNet curves: batch 256, 100 epochs, a tenth every 30.",
        "Padam ends beside SGD with momentum, two to six points above Adam and "
        "AMSGrad.",
    ),
    "imagenet-vgg16": Experiment(
        replace(_IMAGENET, model="vgg16-imagenet"),
        "The paper's ImageNet curves for VGG-16.",
        "Padam ends beside SGD with momentum, above Adam and AMSGrad.",
    ),
    "imagenet-resnet50": Experiment(
        replace(_IMAGENET, model="resnet50-imagenet"),
        "The same recipe on the network most others report.",
        "None published.",
    ),
    "choice-of-p": Experiment(
        replace(_CIFAR10, model="resnet18", optimizers=("padam",)),
        "Which p? The paper's grid at learning rate 0.1.",
        "p = 1/8 ends best.",
        grid=("p=0.25,0.125,0.0625",),
    ),
    "p-and-learning-rate": Experiment(
        replace(_SMALL, model="resnet18", width=16, optimizers=("padam",)),
        "How do p and the learning rate depend on each other? Figures 2 and 3 of the "
        "Southampton report, on a narrow ResNet-18.",
        "The larger p, the smaller the best learning rate.",
        grid=("p=0.25,0.125,0.0625", "learning_rate=0.1,0.01,0.001"),
    ),
    "dilemma": Experiment(
        replace(_SMALL, optimizers=("padam",), diagnostics=True),
        "The small-learning-rate dilemma: how far the effective learning rates spread "
        "for each p, and how far the weights still move after each decay.",
        "The larger p, the wider the spread; with p = 1/2 late epochs move little.",
        "25 to 35 s an epoch on two CPU cores",
        grid=("p=0.5,0.25,0.125,0.0625",),
    ),
    "correction": Experiment(
        replace(_SMALL, optimizers=("padam",), seeds=3),
        "Does the warm-up hidden in the authors' bias correction matter at p = 1/8?",
        "None published.",
        "25 to 35 s an epoch on two CPU cores",
        grid=("bias_correction=none,official,consistent",),
    ),
    "b0-logistic": Experiment(
        _PLAIN,
        "Is AdaGrad-Norm robust to b0? Oxford's slides, figure 1: logistic regression.",
        "Flat over many decades of b0 where SGD with the step 1/b0 is not.",
        grid=(f"b0={_DECADES}",),
    ),
    "b0-logistic-sgd": Experiment(
        replace(_PLAIN, optimizers=("sgd",)),
        "What b0-logistic is compared with: SGD with the steps 1/b0 and 1/(b0 √k).",
        "Good for one or two decades of b0.",
        grid=(f"learning_rate={_DECADES}", "schedule=constant,inverse-sqrt"),
    ),
    "b0-mlp": Experiment(
        replace(_PLAIN, model="mlp"),
        "Oxford's slides, figure 2: two fully connected layers on MNIST.",
        "As b0-logistic.",
        grid=(f"b0={_DECADES}",),
    ),
    "b0-mlp-sgd": Experiment(
        replace(_PLAIN, model="mlp", optimizers=("sgd",)),
        "What b0-mlp is compared with.",
        "As b0-logistic-sgd.",
        grid=(f"learning_rate={_DECADES}", "schedule=constant,inverse-sqrt"),
    ),
    "b0-lenet": Experiment(
        replace(_PLAIN, dataset="cifar10", model="lenet"),
        "Oxford's slides, figure 3: LeNet on CIFAR-10.",
        "As b0-logistic.",
        grid=(f"b0={_DECADES}",),
    ),
    "b0-lenet-sgd": Experiment(
        replace(_PLAIN, dataset="cifar10", model="lenet", optimizers=("sgd",)),
        "What b0-lenet is compared with.",
        "As b0-logistic-sgd.",
        grid=(f"learning_rate={_DECADES}", "schedule=constant,inverse-sqrt"),
    ),
    "b0-resnet18": Experiment(
        replace(_PLAIN, dataset="cifar10", model="resnet18"),
        "Oxford's slides, figure 3: ResNet-18 on CIFAR-10.",
        "As b0-logistic.",
        grid=(f"b0={_DECADES}",),
    ),
    "b0-resnet18-sgd": Experiment(
        replace(_PLAIN, dataset="cifar10", model="resnet18", optimizers=("sgd",)),
        "What b0-resnet18 is compared with.",
        "As b0-logistic-sgd.",
        grid=(f"learning_rate={_DECADES}", "schedule=constant,inverse-sqrt"),
    ),
    "shakespeare": Experiment(
        _TEXT,
        "Beyond CNNs, as the Southampton report asks: an LSTM on characters.",
        "None published for this set.",
    ),
    "shakespeare-p": Experiment(
        replace(_TEXT, optimizers=("padam",)),
        "Which p suits an LSTM?",
        "A larger p than for CNNs: the paper's authors take 0.4 for theirs.",
        grid=("p=0.4,0.2,0.125", "learning_rate=1,0.1,0.01,0.001"),
    ),
}
