"""What compared runs share: data, networks, optimizers, compiled functions."""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from benchmarks import data, optimizers
from benchmarks.optimizers.evaluation import find_eval_params
from benchmarks.training import epochs, monitoring, schedules
from benchmarks.training.config import TrainConfig
from benchmarks.training.devices import DeviceLayout
from benchmarks.training.setup import (
    Parts,
    check_outputs,
    find_parts,
    resolve_hyperparams,
)
from benchmarks.training.step import Metrics, Programs, TrainState


class Prepared(NamedTuple):
    """What the runs with one optimizer share.

    Attributes:
      schedule: Its learning rate.
      train: A function of a state, which is donated, and a part of an epoch; returns
        the state after it and the metrics of its steps, asynchronously.
      show: A function of the initial parameters, a state and the learning rate; returns
        diagnostics of the optimizer.
      weights: Returns the parameters and statistics of a state to evaluate.
    """

    schedule: optax.Schedule
    train: epochs.Train
    show: Callable[[Any, TrainState, Any], dict[str, jax.Array]]
    weights: Callable[[TrainState], tuple[Any, Any]]


class Trainer:
    """Data, initial weights and compiled functions, each made once."""

    def __init__(
        self,
        config: TrainConfig,
        source: data.Source,
        layout: DeviceLayout,
        parts: Parts | None = None,
    ):
        self.config = config
        self.parts = parts = parts or find_parts(config, source)
        self.source = source
        self.layout = layout
        self.steps_per_epoch = source.train_size // config.batch_size
        self.recipes = resolve_hyperparams(config, parts.optimizers)
        self._prepared: dict[str, Prepared] = {}
        self._optimizers: dict[tuple[str, int], optax.GradientTransformation] = {}
        contents = source.read()
        preprocessing = contents.preprocessing
        if not config.augment:
            preprocessing = preprocessing.without_augmentation()
        graph, weights = self._build(config.seed)
        self._weights = {config.seed: layout.replicate(weights)}  # of the last seed
        objective = parts.objective
        if parts.model.takes is None or objective.is_own:
            check_outputs(
                config.model,
                (graph, weights),
                contents,
                0 if objective.is_own else source.classes,
                objective.measure,
            )
        programs = Programs(graph, preprocessing, layout, objective.measure)
        self.feed = epochs.make_epoch_runner(config, source, contents, programs)

    def _build(self, seed: int) -> tuple[Any, Any]:
        config, model = self.config, self.parts.model
        network = model.build(
            width=config.width or model.width,
            input_shape=self.source.input_shape,
            classes=self.source.classes,
            initializer=config.initializer,
            dtype=jnp.dtype(config.dtype),
            axis_name=self.layout.axis_name,
            rngs=nnx.Rngs(seed),
        )
        graph, *weights = nnx.split(network, nnx.Param, ...)
        return graph, tuple(weights)

    def initial_weights(self, seed: int) -> tuple[Any, Any]:
        """Make the initial parameters and statistics of all runs with a seed."""
        if seed not in self._weights:
            self._weights = {seed: self.layout.replicate(self._build(seed)[1])}
        return self._weights[seed]

    def initial_state(self, name: str, seed: int) -> TrainState:
        """Copy the common initial weights and initialize an optimizer for them."""
        start = (jnp.int32(0), *self.initial_weights(seed))
        step, params, stats = self.layout.replicate(start)
        init = self.find_optimizer(name, seed).init
        return TrainState(step, params, stats, self.layout.init_opt_state(init, params))

    def make_schedule(self, name: str) -> optax.Schedule:
        """Make the schedule of an optimizer's learning rate; NaN if it has none."""
        config = self.config
        rate = self.recipes[name].get("learning_rate", math.nan)
        varies = self.parts.optimizers[name].takes_schedule and not math.isnan(rate)
        return schedules.make(
            config.schedule if varies else "constant",
            rate,
            config.epochs * self.steps_per_epoch,
            config.milestones,
            config.final_share,
            config.warmup if varies else 0.0,
        )

    def find_optimizer(self, name: str, seed: int) -> optax.GradientTransformation:
        """Return the optimizer of a run, built at the first call."""
        if (name, seed) not in self._optimizers:
            steps = self.config.epochs * self.steps_per_epoch
            tx = optimizers.build(
                name,
                self.recipes[name],
                self.make_schedule(name),
                optimizers.Run(steps, self.source.train_size, seed),
                self.parts.optimizers[name],
            )
            if self.config.accumulate > 1:
                tx = optax.MultiSteps(tx, self.config.accumulate)
                tx = tx.gradient_transformation()
            self._optimizers[name, seed] = tx
        return self._optimizers[name, seed]

    def prepare(self, name: str) -> Prepared:
        """Compile what the runs with an optimizer need.

        Runs with other seeds use it too: a seed affects only the initial state of an
        optimizer.
        """
        if name not in self._prepared:
            seed = self.config.seed
            state = self.initial_state(name, seed)
            self._prepared[name] = Prepared(
                self.make_schedule(name),
                self.feed.compile_train(self.find_optimizer(name, seed), state),
                self._prepare_to_show(name, state),
                self._prepare_weights(state),
            )
        return self._prepared[name]

    def measure(self, weights: tuple[Any, Any], last: bool) -> dict[str, Metrics]:
        """Evaluate weights asynchronously; return the metrics by split.

        The last ones of a run are also evaluated on the training set, if it is in
        memory.
        """
        measured = {self.config.evaluated: self.evaluate(weights)}
        if last and self.source.resident:
            measured["final_train"] = self.evaluate_training_set(weights)
        return measured

    @functools.cached_property
    def evaluate(self) -> Callable[[Any], Any]:
        """Measure parameters and statistics on the test or validation split."""
        return self.feed.compile_evaluate(self.initial_weights(self.config.seed))

    @functools.cached_property
    def evaluate_training_set(self) -> Callable[[Any], Any]:
        """Measure them on the training set, without augmentation and dropout."""
        feed: Any = self.feed  # not a stream, which cannot be read twice
        return feed.compile_evaluate(self.initial_weights(self.config.seed), "train")

    def _prepare_weights(
        self, state: TrainState
    ) -> Callable[[TrainState], tuple[Any, Any]]:
        averages = find_eval_params(state.opt_state)
        if averages is None:
            return lambda state: (state.params, state.stats)
        compiled = self.layout.compile(
            lambda opt_state, params: self.layout.gather(averages(opt_state, params)),
            *(state.opt_state, state.params),
        )
        return lambda state: (compiled(state.opt_state, state.params), state.stats)

    def _prepare_to_show(self, name: str, state: TrainState) -> Callable[..., Any]:
        if not self.config.diagnostics:
            return lambda start, state, learning_rate: {}
        settings, row = self.recipes[name], self.parts.optimizers[name]
        b2 = settings["b2"] if row.corrects_before_max else None
        p = None if "p_start" in settings else settings.get("p", 0.5)
        read = monitoring.make_diagnostics(state.opt_state, p, b2)
        rate = self.layout.replicate(jnp.float32(0))
        compiled = self.layout.compile(
            read, state.params, state.params, state.opt_state, rate
        )

        def show(start, state, learning_rate):
            rate = self.layout.replicate(jnp.float32(learning_rate))
            return compiled(start, state.params, state.opt_state, rate)

        return show
