"""Tune each optimizer on validation images, and compare them on test images."""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from benchmarks import data
from benchmarks.gan.config import GanConfig
from benchmarks.gan.duel import Duel
from benchmarks.gan.frechet import (
    Moments,
    frechet_distance,
    make_features,
    moments,
    train_lenet,
)
from benchmarks.gan.plan import final_distance
from benchmarks.optimizers import OPTIMIZERS
from benchmarks.sweep.grid import round_value
from benchmarks.sweep.tuning import try_values

_VALIDATION = 10_000


class Images(NamedTuple):
    """Images (n, 28, 28, 1) in [0, 1] to train with, and those to compare with."""

    train: Any
    validation: Any
    test: Any


class Judge:
    """Distances to the validation and to the test images."""

    def __init__(
        self, features: Callable[[Any], np.ndarray], images: Images, examples: int
    ):
        self.features = features
        self.real: dict[str, Moments] = {
            "tuning": moments(features(images.validation[:examples])),
            "final": moments(features(images.test[:examples])),
        }

    def measure(self, stage: str, images: Any) -> float:
        """Return the distance of generated images, NaN if they are not finite."""
        found = self.features(images)
        if not np.isfinite(found).all():
            return float("nan")
        return frechet_distance(moments(found), self.real[stage])


def load(config: GanConfig) -> tuple[Images, Callable[[Any], np.ndarray]]:
    """Read MNIST; train the LeNet on what is not for validation or test."""
    contents: Any = data.find("mnist", config.data_dir).read()
    train, test = (
        jnp.asarray(split.inputs, jnp.float32) / 255
        for split in (contents.train, contents.test)
    )
    images = Images(train[:-_VALIDATION], train[-_VALIDATION:], test)
    network = train_lenet(
        images.train, jnp.asarray(contents.train.labels[:-_VALIDATION])
    )
    return images, make_features(network)


def compare(
    config: GanConfig, images: Images, judge: Judge, done: Sequence[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Tune and test each optimizer.

    Args:
      config: The settings.
      images: What to train with.
      judge: Measures distances.
      done: The records of runs that have ended.

    Yields:
      The record of each other run: what `Duel.run` returns with ``optimizer``,
      ``label``, ``learning_rate``, ``seed`` and ``stage``, "tuning" or "final".
    """
    for name in config.optimizers:
        mine = [line for line in done if line["optimizer"] == name]
        known = {(x["stage"], x["learning_rate"], x["seed"]): x for x in mine}
        duel = Duel(name, images.train, config)

        def run(
            stage: str, rate: float, seed: int, name: str = name, duel: Duel = duel
        ) -> dict[str, Any]:
            found = duel.run(rate, seed, functools.partial(judge.measure, stage))
            label = OPTIMIZERS[name].label
            own = {"optimizer": name, "label": label, "learning_rate": rate}
            return {**own, "seed": seed, "stage": stage, **found}

        base = OPTIMIZERS[name].recipe["learning_rate"]
        start = [round_value(factor * base) for factor in config.factors]
        tuned = {rate: x for (stage, rate, _), x in known.items() if stage == "tuning"}

        def score(rate: float, tuned: dict[float, Any] = tuned) -> float | None:
            return -final_distance(tuned[rate]) if rate in tuned else None

        while (tried := try_values(start, score)).best is None:
            rate = next(value for value in tried.values if value not in tuned)
            tuned[rate] = run("tuning", rate, config.seed)
            yield tuned[rate]
        for seed in range(config.seeds):
            if ("final", tried.best, seed) not in known:
                yield run("final", tried.best, seed)
