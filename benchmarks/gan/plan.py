"""What the comparison asks, and the rule that judges it. Needs no JAX.

Written before the first run.
"""

import math
from collections.abc import Mapping
from typing import Any

QUESTION = (
    "Can Padam train generative adversarial networks, which Southampton's report "
    "leaves open? Generator and discriminator have two convolutions each; both have "
    "the same optimizer, without weight decay."
)
BUDGET = "20 runs to tune, more where the best is at an edge, and 15 finals"
EXPECTED = (
    "Nothing is published. Adam with β1 = 0.5 is what most have used since Radford et "
    "al. 2016; SGD is said to fail."
)
RULE = (
    "The Fréchet distance to the test images after the last step, in the features of a "
    "LeNet trained on the same images: 100 ln of the ratio, paired by seed. At least "
    "as good: the 95 % interval lies above -5. A run that diverged counts as an "
    "untrained generator. The learning rate of each optimizer is tuned with another "
    "seed on validation images, beyond the grid while the best is at its edge."
)
LIMITS = (
    "A small network on small images, one momentum for all, and learning rates alone "
    "are tuned."
)
MARGIN = 5.0
"""The largest difference that does not matter, in % (100 ln of the ratio)."""


def final_distance(record: Mapping[str, Any]) -> float:
    """Return the distance of a run after its last step; lower is better.

    That of an untrained generator if it diverged.

    >>> final_distance({"distance": [9.0, 2.0], "stopped": None})
    2.0
    >>> final_distance({"distance": [9.0, 2.0], "stopped": "a loss is not finite"})
    9.0
    """
    return record["distance"][0 if record["stopped"] else -1]


def gain(first: Mapping[str, Any], second: Mapping[str, Any]) -> float:
    """Return by how much the first run is better, in % (100 ln of the ratio).

    >>> run = {"distance": [9.0, 2.0], "stopped": None}
    >>> round(gain(run, {**run, "distance": [9.0, 4.0]}), 1)
    69.3
    """
    return 100 * math.log(final_distance(second) / final_distance(first))
