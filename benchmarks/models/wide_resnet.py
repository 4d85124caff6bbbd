"""The wide residual network of Padam's experiments.

After Zagoruyko and Komodakis, Wide Residual Networks, BMVC 2016, with three
differences: BatchNorm and ReLU follow the convolutions, the first convolution is as
wide as the first stage, and there is no dropout.
"""

from typing import Any

from benchmarks.models.layers import Layers
from benchmarks.models.resnet import ResNet, basic


def wrn_16_4(
    width: int, input_shape: tuple[int, int, int], classes: int, **settings: Any
) -> ResNet:
    """Build WRN-16-4: three stages of two basic blocks; 64 is four times the usual 16.

    Convolutions are drawn from N(0, 2/fan-out) and the dense layer has PyTorch's
    default initialization, as in the authors' program. On 32x32 images its 8x8 pooling
    is the mean over all pixels.
    """
    layers = Layers("he-normal-fan-out", "torch", **settings)
    return ResNet(layers, basic, (2, 2, 2), width, input_shape[-1], classes)
