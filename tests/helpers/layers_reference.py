"""Layers in NumPy, from their definitions, in float64."""

import numpy as np


def array(x):
    return np.asarray(x, np.float64)


def conv(x, layer, stride=1, padding=0):
    """Cross-correlate images NHWC with a kernel HWIO, with zeros on all four sides."""
    x, kernel = array(x), array(layer.kernel[...])
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    side = len(kernel)
    height, width = ((s - side) // stride + 1 for s in x.shape[1:3])
    y = np.zeros((len(x), height, width, kernel.shape[-1]))
    for i in range(height):
        for j in range(width):
            a, b = i * stride, j * stride
            y[:, i, j] = np.tensordot(x[:, a : a + side, b : b + side], kernel, 3)
    return y if layer.bias is None else y + array(layer.bias[...])


def norm(x, layer):
    """Normalise over the batch and the pixels."""
    x = (x - x.mean((0, 1, 2))) / np.sqrt(x.var((0, 1, 2)) + 1e-5)
    return x * array(layer.scale[...]) + array(layer.bias[...])


def conv_norm(x, block, stride=1):
    padding = (len(block.conv.kernel[...]) - 1) // 2
    return norm(conv(x, block.conv, stride, padding), block.norm)


def dense(x, layer):
    return array(x) @ array(layer.kernel[...]) + array(layer.bias[...])


def relu(x):
    return np.maximum(x, 0)


def max_pool(x, side=2, padding=0):
    """Maxima over windows that are two pixels apart."""
    edges = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    x = np.pad(array(x), edges, constant_values=-np.inf)
    height, width = ((s - side) // 2 + 1 for s in x.shape[1:3])
    y = np.zeros((len(x), height, width, x.shape[-1]))
    for i in range(height):
        for j in range(width):
            window = x[:, 2 * i : 2 * i + side, 2 * j : 2 * j + side]
            y[:, i, j] = window.max((1, 2))
    return y
