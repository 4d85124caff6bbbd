"""The networks, by their names on the command line."""

from collections.abc import Callable
from typing import Any

from flax import nnx

from benchmarks import own
from benchmarks.errors import check_name
from benchmarks.models.adam_cnn import AdamCNN
from benchmarks.models.factories import describe
from benchmarks.models.layers import Layers
from benchmarks.models.lenet import LeNet
from benchmarks.models.lstm import LanguageModel
from benchmarks.models.mlp import MLP
from benchmarks.models.resnet import ResNet, basic, bottleneck
from benchmarks.models.types import Model
from benchmarks.models.vgg import VGG


def _build(
    network: Callable[..., nnx.Module],
    *,
    conv: str = "torch",
    dense: str = "torch",
    **options: Any,
) -> Callable[..., nnx.Module]:
    """Return what builds a network with its published initializers."""

    def build(width: int, input_shape: Any, classes: int, **settings: Any) -> Any:
        layers = Layers(conv, dense, **settings)
        return network(layers, width, input_shape, classes, **options)

    return build


# VGG-16's configuration D, in units of the width. On 32x32 images its five poolings
# leave one pixel.
_SIXTEEN = ([1] * 2, [2] * 2, [4] * 3, [8] * 3, [8] * 3)
_LARGE: Any = {"conv": "he-normal-fan-out", "large": True}

MODELS: dict[str, Model] = {
    "vgg-small": Model(
        _build(
            VGG,
            conv="he-normal",
            dense="lecun-normal",
            stages=([1, 1], [2, 2], [4, 4]),
        ),
        16,
        8,
        "six convolutions in the style of VGG, BatchNorm",
    ),
    "vgg16": Model(
        _build(VGG, stages=_SIXTEEN),
        64,
        32,
        "VGG-16 with BatchNorm and one dense layer, as Padam's",
    ),
    "resnet18": Model(
        _build(ResNet, block=basic, depths=(2, 2, 2, 2)),
        64,
        8,
        "ResNet-18 for 32x32 images, as Padam's",
    ),
    # Zagoruyko and Komodakis, Wide Residual Networks, BMVC 2016, but BatchNorm and ReLU
    # follow the convolutions, the first convolution is as wide as the first stage (64
    # is four times the usual 16), and there is no dropout, as in Padam's program.
    "wrn16-4": Model(
        _build(ResNet, conv="he-normal-fan-out", block=basic, depths=(2, 2, 2)),
        64,
        4,
        "WideResNet-16-4 for 32x32 images, as Padam's",
    ),
    # As torchvision has them, except for VGG's dropout, which would be the only
    # randomness in a step.
    "resnet18-imagenet": Model(
        _build(ResNet, block=basic, depths=(2, 2, 2, 2), **_LARGE),
        64,
        32,
        "ResNet-18 for 224x224 images",
    ),
    "resnet50-imagenet": Model(
        _build(ResNet, block=bottleneck, depths=(3, 4, 6, 3), **_LARGE),
        64,
        32,
        "ResNet-50 (v1.5) for 224x224 images",
    ),
    "vgg16-imagenet": Model(
        _build(
            VGG,
            conv="he-normal-fan-out",
            dense="gaussian",
            stages=_SIXTEEN,
            hidden=(64, 64),
        ),
        64,
        32,
        "VGG-16 with BatchNorm for 224x224 images",
    ),
    "lenet": Model(_build(LeNet), 6, 1, "LeNet-5 with ReLU and max-pooling"),
    "adam-cnn": Model(
        _build(AdamCNN), 64, 8, "c64-c64-c128-1000, as Adam's on CIFAR-10"
    ),
    "adam-cnn-dropout": Model(
        _build(AdamCNN, dropout=0.5),
        64,
        8,
        "the same with dropout of 1/2 of the input and the dense layer",
    ),
    "mlp": Model(_build(MLP, hidden=1), 100, 0, "two fully connected layers"),
    "mlp-3": Model(_build(MLP, hidden=2), 1000, 0, "three of them, as Adam's on MNIST"),
    "mlp-3-dropout": Model(
        _build(MLP, hidden=2, dropout=0.5),
        1000,
        0,
        "the same with dropout of 1/2 of the hidden units",
    ),
    "mlp-5": Model(_build(MLP, hidden=4), 100, 0, "five fully connected layers"),
    "logistic": Model(_build(MLP, hidden=0), 1, 0, "multinomial logistic regression"),
    "lstm-1": Model(
        _build(LanguageModel, depth=1), 128, 0, "one LSTM layer on characters", "text"
    ),
    "lstm-2": Model(
        _build(LanguageModel, depth=2), 128, 0, "two LSTM layers on characters", "text"
    ),
    "lstm-3": Model(
        _build(LanguageModel, depth=3),
        128,
        0,
        "three LSTM layers on characters",
        "text",
    ),
}


def lookup(name: str) -> Model:
    """Find a network by its name on the command line, or module:factory."""
    if own.is_own(name):
        return describe(name)
    check_name("--model", name, MODELS)
    return MODELS[name]
