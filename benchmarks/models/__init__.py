"""The networks, by their names on the command line."""

from functools import partial

from benchmarks import own
from benchmarks.errors import check_name
from benchmarks.models.adam_cnn import adam_cnn
from benchmarks.models.factories import describe
from benchmarks.models.lenet import lenet
from benchmarks.models.lstm import lstm
from benchmarks.models.mlp import logistic, mlp
from benchmarks.models.resnet import resnet18, resnet18_imagenet, resnet50_imagenet
from benchmarks.models.types import Model
from benchmarks.models.vgg import vgg16, vgg16_imagenet, vgg_small
from benchmarks.models.wide_resnet import wrn_16_4

MODELS: dict[str, Model] = {
    "vgg-small": Model(
        vgg_small, 16, 8, "images", "six convolutions in the style of VGG, BatchNorm"
    ),
    "vgg16": Model(
        vgg16, 64, 32, "images", "VGG-16 with BatchNorm and one dense layer, as Padam's"
    ),
    "resnet18": Model(
        resnet18, 64, 8, "images", "ResNet-18 for 32x32 images, as Padam's"
    ),
    "wrn16-4": Model(
        wrn_16_4, 64, 4, "images", "WideResNet-16-4 for 32x32 images, as Padam's"
    ),
    "resnet18-imagenet": Model(
        resnet18_imagenet, 64, 32, "images", "ResNet-18 for 224x224 images"
    ),
    "resnet50-imagenet": Model(
        resnet50_imagenet, 64, 32, "images", "ResNet-50 (v1.5) for 224x224 images"
    ),
    "vgg16-imagenet": Model(
        vgg16_imagenet, 64, 32, "images", "VGG-16 with BatchNorm for 224x224 images"
    ),
    "lenet": Model(lenet, 6, 1, "images", "LeNet-5 with ReLU and max-pooling"),
    "adam-cnn": Model(
        adam_cnn, 64, 8, "images", "c64-c64-c128-1000, as Adam's on CIFAR-10"
    ),
    "adam-cnn-dropout": Model(
        partial(adam_cnn, dropout=0.5),
        64,
        8,
        "images",
        "the same with dropout of 1/2 of the input and the dense layer",
    ),
    "mlp": Model(partial(mlp, 1), 100, 0, "images", "two fully connected layers"),
    "mlp-3": Model(
        partial(mlp, 2), 1000, 0, "images", "three of them, as Adam's on MNIST"
    ),
    "mlp-3-dropout": Model(
        partial(mlp, 2, dropout=0.5),
        1000,
        0,
        "images",
        "the same with dropout of 1/2 of the hidden units",
    ),
    "mlp-5": Model(partial(mlp, 4), 100, 0, "images", "five fully connected layers"),
    "logistic": Model(logistic, 1, 0, "images", "multinomial logistic regression"),
    "lstm-1": Model(partial(lstm, 1), 128, 0, "text", "one LSTM layer on characters"),
    "lstm-2": Model(partial(lstm, 2), 128, 0, "text", "two LSTM layers on characters"),
    "lstm-3": Model(
        partial(lstm, 3), 128, 0, "text", "three LSTM layers on characters"
    ),
}


def lookup(name: str) -> Model:
    """Find a network by its name on the command line.

    Args:
      name: A key of MODELS; or module:factory, optionally followed by settings after
        commas.

    Raises:
      UsageError: If it does not exist.
    """
    if own.is_own(name):
        return describe(name)
    check_name("--model", name, MODELS)
    return MODELS[name]
