"""Settings that several experiments share."""

from dataclasses import replace

from benchmarks.training.config import TrainConfig

FOUR = ("momentum", "adam", "amsgrad", "padam")
SEVEN = ("momentum", "adam", "amsgrad", "adamw", "yogi", "adabelief", "padam")

CIFAR10 = TrainConfig(dataset="cifar10", model="vgg16", optimizers=FOUR)
LONG = replace(CIFAR10, epochs=200, milestones=(0.5, 0.75), optimizers=SEVEN)
IMAGENET = TrainConfig(
    dataset="imagenet2012",
    model="resnet18-imagenet",
    batch_size=256,
    milestones=(0.3, 0.6, 0.9),
    dtype="bfloat16",
)
# What two processor cores train within an hour or two: a small version of the
# published network, and a smaller one where many settings are compared.
SMALL = TrainConfig(dataset="cifar10", epochs=8, seeds=3)
SMALLER = replace(SMALL, width=8, epochs=6, optimizers=("padam",), diagnostics=True)
PLAIN = TrainConfig(
    dataset="mnist",
    model="logistic",
    optimizers=("adagrad-norm",),
    recipe=("weight_decay=0",),
    schedule="constant",
    epochs=10,
    augment=False,
)
# In the regime of the claim, as far as two processor cores go: a network that fits all
# of its examples, trained to the end of its schedule. 15 weights for each example.
SUBSET = TrainConfig(
    dataset="cifar10",
    examples=5000,
    side=16,
    augment=False,
    optimizers=(
        "momentum",
        "adam",
        "padam-p0.5",
        "padam-p0.25",
        "padam-p0.125",
        "padam-p0.0625",
    ),
    seed=100,
    seeds=2,
    diagnostics=True,
)
# Half a decade apart.
FIVE_RATES = "learning_rate=*0.1,*0.316,*1,*3.16,*10"

SHORT = (
    "A few epochs favor what moves fast. How training of a hundred epochs ends, which "
    "is the paper's subject, only the experiments for a GPU can show."
)
AT_THE_END = (
    "Mean test accuracy of the last five epochs, each method at the learning rate that "
    "did best on the validation set, over seeds common to all; early: that of the "
    "epochs 21 to 25."
)
ONE_NETWORK = (
    "One network of 73,000 weights and 5,000 images of 16x16 pixels without "
    "augmentation: what it shows of larger networks and of all of CIFAR-10 is a guess."
)
