"""The functions that run on the devices: step, epoch as one scan, evaluation. All pure.

They do not depend on which optimizer they are given.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax import lax

from benchmarks.data import Split
from benchmarks.data.preprocessing import Draws, Preprocessing
from benchmarks.training.devices import DeviceLayout


class TrainState(NamedTuple):
    """Everything that a step changes; `stats` are BatchNorm's running statistics.

    Each part of an accumulated batch counts as a step, an int32 scalar.
    """

    step: jax.Array
    params: Any
    stats: Any
    opt_state: Any


class Metrics(NamedTuple):
    """The loss, and the accuracy or the user's own metric."""

    loss: jax.Array
    accuracy: jax.Array


# Takes the outputs for a batch and its labels; both metrics have the shape (n,).
Measure = Callable[[jax.Array, jax.Array], Metrics]


def measure(logits: jax.Array, labels: jax.Array) -> Metrics:
    """Return the cross-entropy of each example, and whether it is classified correctly.

    Logits are (n, classes), or (n, length, classes) for text. The results have the
    shape (n,); of a text they are means over its characters.
    """
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    correct = (logits.argmax(axis=-1) == labels).astype(loss.dtype)
    return Metrics(*(x.reshape(len(x), -1).mean(axis=1) for x in (loss, correct)))


@dataclass(frozen=True)
class Programs:
    """The functions to be compiled for one network; `graph` is its static part."""

    graph: Any
    preprocessing: Preprocessing
    layout: DeviceLayout
    measure: Measure = measure

    def train_epoch(
        self,
        tx: optax.GradientTransformation,
        state: TrainState,
        split: Split,
        seed: jax.Array,
        shape: tuple[int, int],
    ) -> tuple[TrainState, Metrics]:
        """Train for one epoch in a new order, in one scan.

        Args:
          tx: The optimizer.
          state: The state at the start of the epoch.
          split: The training split, whole.
          seed: The run's seed, a scalar. With the epoch it determines order and draws.
          shape: Steps of the epoch and examples per step.

        Returns:
          The new state, and the metrics of each step before it was taken.
        """
        epoch = state.step // shape[0]
        key = jax.random.fold_in(jax.random.key(seed), epoch)
        plan = self.plan_epoch(key, len(split.labels), shape)

        def body(state, choice):
            index, draws = self.layout.local_shard(choice)
            inputs = self.preprocessing.train(split.inputs[index], draws)
            return self.train_step(tx, state, inputs, split.labels[index])

        return lax.scan(body, state, plan)

    def plan_epoch(
        self, key: jax.Array, size: int, shape: tuple[int, int]
    ) -> tuple[jax.Array, Draws]:
        """Draw the order of the examples in an epoch, and their augmentation.

        The draws are for whole batches: they depend only on the key, not on the
        optimizer or the number of devices. If the batch size does not divide the number
        of examples, the epoch skips those left over; the next one skips others.

        Args:
          key: The epoch's random key.
          size: Number of training examples.
          shape: Steps of the epoch and examples per step; the shape of the results.
        """
        order_key, draw_key = jax.random.split(key)
        order = jax.random.permutation(order_key, size)[: math.prod(shape)]
        return order.reshape(shape), self.preprocessing.draw(draw_key, shape)

    def train_on_batch(
        self, tx: optax.GradientTransformation, state: TrainState, batch: Split
    ) -> tuple[TrainState, Metrics]:
        """Take one step on a batch of a stream, which is augmented already."""
        return self.train_step(
            tx, state, self.preprocessing.test(batch.inputs), batch.labels
        )

    def train_step(
        self,
        tx: optax.GradientTransformation,
        state: TrainState,
        inputs: jax.Array,
        labels: jax.Array,
    ) -> tuple[TrainState, Metrics]:
        """Take one step: the same for every optimizer.

        Optimizers with a line search need the value, the gradient and the function,
        which averages over devices. Others ignore them. Inputs and labels are this
        device's part of the batch; the metrics are those of the whole batch before the
        step.
        """

        def objective(params):
            params = self.layout.pmean_grad(params)
            model = nnx.merge(self.graph, params, state.stats, copy=True)
            model.train()
            metrics = self.measure(model(inputs), labels)
            metrics = self.layout.mean(Metrics(*(x.mean() for x in metrics)))
            return metrics.loss, (metrics, nnx.state(model, nnx.Not(nnx.Param)))

        (loss, (metrics, stats)), gradient = jax.value_and_grad(
            objective, has_aux=True
        )(state.params)
        updates, opt_state = optax.with_extra_args_support(tx).update(
            self.layout.scatter(gradient),
            state.opt_state,
            self.layout.scatter(state.params),
            value=loss,
            grad=gradient,
            value_fn=lambda params: objective(params)[0],
        )
        params = self.layout.gather(optax.apply_updates(state.params, updates))
        return TrainState(state.step + 1, params, stats, opt_state), metrics

    def evaluate(
        self, weights: tuple[Any, Any], split: Split, batch_size: int
    ) -> Metrics:
        """Average over a whole split, each example counted once.

        The last batch is padded with copies of the last example, which do not count.
        """
        size = len(split.labels)
        index = jnp.arange(math.ceil(size / batch_size) * batch_size)

        def body(sums, index):
            index = self.layout.local_shard(index)
            clipped = jnp.minimum(index, size - 1)
            batch = Split(split.inputs[clipped], split.labels[clipped])
            found = self._sum_over_batch(weights, batch, index < size)
            return Metrics(*map(jnp.add, sums, found)), None

        zeros = Metrics(jnp.float32(0), jnp.float32(0))
        sums, _ = lax.scan(body, zeros, index.reshape(-1, batch_size))
        return Metrics(*(x / size for x in self.layout.sum(sums)))

    def evaluate_batch(
        self, weights: tuple[Any, Any], batch: tuple[Split, jax.Array]
    ) -> Metrics:
        """Sum over the examples of a stream's batch that count."""
        return self.layout.sum(self._sum_over_batch(weights, *batch))

    def _sum_over_batch(
        self, weights: tuple[Any, Any], batch: Split, counts: jax.Array
    ) -> Metrics:
        model = nnx.merge(self.graph, *weights, copy=True)
        model.eval()
        logits = model(self.preprocessing.test(batch.inputs))
        found = self.measure(logits, batch.labels)
        return Metrics(*(jnp.where(counts, x, 0.0).sum() for x in found))
