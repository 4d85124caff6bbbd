"""Training: the pure step, an epoch as one scan, evaluation, and the loop around them.

Everything that depends on the name of an optimizer is decided before the loop.
"""

import math
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax import lax
from rich.console import Console
from tqdm import tqdm

from benchmarks import data, diagnostics, models, optimizers, records, report
from benchmarks.augmentation import Draws, augment, draw, normalise
from benchmarks.config import TrainConfig, UsageError
from benchmarks.parallel import Parallel, parallel


class TrainState(NamedTuple):
    """All that a step changes.

    Attributes:
      step: Steps taken, an int32 scalar.
      params: The weights.
      stats: The running statistics of BatchNorm.
      opt_state: The optimizer's state.
    """

    step: jax.Array
    params: Any
    stats: Any
    opt_state: Any


class DivergedError(Exception):
    """A loss that is not finite; the message says since when."""


class Trainer:
    """What the runs to be compared share: data, batches, initial weights, evaluation.

    Args:
      config: The settings, checked.
      dataset: The images.
      classes: Number of classes.
      mode: Where to run.
    """

    def __init__(
        self, config: TrainConfig, dataset: data.Dataset, classes: int, mode: Parallel
    ):
        model = models.lookup(config.model).build(
            config.width,
            dataset.train.images.shape[-1],
            classes,
            axis_name=mode.axis_name,
            rngs=nnx.Rngs(config.seed),
        )
        self.config = config
        self.mode = mode
        self.dataset = dataset
        self.train = mode.place(dataset.train)
        self.test = mode.place(dataset.test)
        self.graph, self.params, self.stats = nnx.split(model, nnx.Param, ...)
        self.steps_per_epoch = len(dataset.train.labels) // config.batch_size
        weights = mode.place((self.params, self.stats))
        self.evaluate = mode.compile(self._evaluate, weights, self.test)

    def run(self, name: str) -> Iterator[dict[str, Any]]:
        """Train with one optimizer from the common initial weights.

        The results of an epoch are fetched after the next one is dispatched, so that
        the device does not wait for the host.

        Args:
          name: A key of optimizers.OPTIMIZERS.

        Yields:
          The record of each epoch.

        Raises:
          DivergedError: After the last epoch whose losses were finite.
        """
        run = optimizers.Run(
            steps=self.config.epochs * self.steps_per_epoch,
            num_examples=len(self.dataset.train.labels),
            seed=self.config.seed,
        )
        tx, schedule = optimizers.build(name, run, self.config.milestones)
        state = self.initial_state(tx)
        train_epoch = self.compile_epoch(tx, state)
        show = self.diagnose(name, state.opt_state)

        started = time.perf_counter()
        dispatched = None
        for epoch in range(1, self.config.epochs + 2):
            finished = dispatched
            if epoch <= self.config.epochs:
                state, training = train_epoch(state, self.train)
                testing = self.evaluate((state.params, state.stats), self.test)
                shown = show(state, schedule(epoch * self.steps_per_epoch - 1))
                dispatched = epoch, training, testing, shown
            if finished is None:
                continue
            number, training, testing, shown = jax.device_get(finished)
            (losses, accuracies), (test_loss, test_accuracy) = training, testing
            step = number * self.steps_per_epoch
            self._check_finite(number, losses, test_loss)
            now = time.perf_counter()
            yield {
                "run": name,
                "epoch": number,
                "step": step,
                "learning_rate": float(schedule(step - 1)),
                "train_loss": float(losses.mean()),
                "train_accuracy": float(accuracies.mean()),
                "test_loss": float(test_loss),
                "test_accuracy": float(test_accuracy),
                "seconds": now - started,
                **diagnostics.to_record(shown),
            }
            started = now

    def diagnose(self, name: str, opt_state: Any) -> Any:
        """Make the function that shows what a run with this optimizer is doing."""
        if not self.config.diagnostics:
            return lambda state, learning_rate: {}
        row = optimizers.lookup(name)
        b2 = row.recipe["b2"] if row.corrects_before_max else None
        read = diagnostics.make(opt_state, row.recipe.get("p", 0.5), b2)
        return lambda state, learning_rate: read(
            self.params, state.params, state.opt_state, learning_rate
        )

    def initial_state(self, tx: optax.GradientTransformation) -> TrainState:
        """Copy the common initial weights and initialise an optimizer for them."""
        return self.mode.place(
            TrainState(jnp.int32(0), self.params, self.stats, tx.init(self.params))
        )

    def compile_epoch(self, tx: optax.GradientTransformation, state: TrainState) -> Any:
        """Compile an epoch, a function of state and data that consumes the state."""

        def epoch(state, split):
            return self._train_epoch(tx, state, split)

        return self.mode.compile(epoch, state, self.train, donate=True)

    def _train_epoch(
        self, tx: optax.GradientTransformation, state: TrainState, split: data.Split
    ) -> tuple[TrainState, tuple[jax.Array, jax.Array]]:
        """Visit the training images once in a new order, all inside one scan."""
        dataset = self.dataset
        key = jax.random.fold_in(jax.random.key(self.config.seed), state.step)
        shape = (self.steps_per_epoch, self.config.batch_size)
        plan = plan_epoch(key, dataset, shape)

        def body(state, choice):
            index, draws = self.mode.local(choice)
            images = split.images[index]
            if self.config.augment:
                images = augment(images, draws, dataset.padding)
            images = normalise(images, dataset.mean, dataset.std)
            return train_step(
                self.graph, tx, self.mode, state, images, split.labels[index]
            )

        return lax.scan(body, state, plan)

    def _evaluate(
        self, weights: tuple[Any, Any], split: data.Split
    ) -> tuple[jax.Array, jax.Array]:
        """Average loss and accuracy over a split, each example counted once.

        The last batch is filled up with copies of the last example that count nothing.
        """
        size, batch = len(split.labels), self.config.batch_size
        index = jnp.arange(math.ceil(size / batch) * batch).reshape(-1, batch)
        model = nnx.merge(self.graph, *weights, copy=True)
        model.eval()

        def body(sums, index):
            index = self.mode.local(index)
            counts = index < size
            index = jnp.minimum(index, size - 1)
            images = normalise(split.images[index], self.dataset.mean, self.dataset.std)
            losses, correct = loss_and_hits(model(images), split.labels[index])
            loss, hits = sums
            return (
                loss + jnp.where(counts, losses, 0.0).sum(),
                hits + (counts & correct).sum(),
            ), None

        (loss, hits), _ = lax.scan(body, (jnp.float32(0), jnp.int32(0)), index)
        loss, hits = self.mode.total((loss, hits))
        return loss / size, hits.astype(jnp.float32) / size

    def _check_finite(self, epoch: int, losses: Any, test_loss: Any) -> None:
        wrong = [i for i, loss in enumerate(losses) if not math.isfinite(loss)]
        if wrong:
            step = (epoch - 1) * self.steps_per_epoch + wrong[0] + 1
            raise DivergedError(
                f"the training loss is {losses[wrong[0]]} in epoch {epoch}, step {step}"
            )
        if not math.isfinite(test_loss):
            raise DivergedError(f"the test loss is {test_loss} after epoch {epoch}")


def plan_epoch(
    key: jax.Array, dataset: data.Dataset, shape: tuple[int, int]
) -> tuple[jax.Array, Draws]:
    """Draw which images an epoch visits in which order, and how each is augmented.

    The draws are for whole batches: they depend on the key alone, not on the optimizer
    nor on the number of devices. The images left over when the batch size does not
    divide the set are not seen in this epoch; the next one leaves out others.

    Args:
      key: The epoch's random key.
      dataset: The images.
      shape: Steps of the epoch and images per step.

    Returns:
      Indices of training images, and their draws, all of the given shape.
    """
    order_key, draw_key = jax.random.split(key)
    order = jax.random.permutation(order_key, len(dataset.train.labels))
    order = order[: math.prod(shape)].reshape(shape)
    return order, draw(draw_key, shape, dataset.padding, dataset.flip)


def train_step(
    graph: Any,
    tx: optax.GradientTransformation,
    mode: Parallel,
    state: TrainState,
    images: jax.Array,
    labels: jax.Array,
) -> tuple[TrainState, tuple[jax.Array, jax.Array]]:
    """Take one step: pure, and the same for every optimizer.

    Optimizers that search along a line get what they need: the value, the gradient and
    the function, which is averaged over devices inside itself. Others ignore them.

    Args:
      graph: The static part of the model.
      tx: The optimizer.
      mode: Where this runs.
      state: What the step changes.
      images: This device's share of the batch, normalised.
      labels: Its labels.

    Returns:
      The new state, and loss and accuracy over the whole batch before the step.
    """

    def objective(params):
        params = mode.share_gradient(params)
        model = nnx.merge(graph, params, state.stats, copy=True)
        model.train()
        losses, correct = loss_and_hits(model(images), labels)
        loss, accuracy = mode.mean((losses.mean(), correct.astype(losses.dtype).mean()))
        return loss, (accuracy, nnx.state(model, nnx.Not(nnx.Param)))

    (loss, (accuracy, stats)), gradient = jax.value_and_grad(objective, has_aux=True)(
        state.params
    )
    updates, opt_state = optax.with_extra_args_support(tx).update(
        gradient,
        state.opt_state,
        state.params,
        value=loss,
        grad=gradient,
        value_fn=lambda params: objective(params)[0],
    )
    params = optax.apply_updates(state.params, updates)
    return TrainState(state.step + 1, params, stats, opt_state), (loss, accuracy)


def loss_and_hits(logits: jax.Array, labels: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return each example's cross-entropy, and whether its class is predicted."""
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return losses, logits.argmax(axis=-1) == labels


def check(config: TrainConfig, source: data.Source, mode: Parallel) -> None:
    """Refuse what this data set, this network or these devices cannot do.

    Raises:
      UsageError: Saying what does not fit, and what would.
    """
    if config.batch_size > source.train_size:
        raise UsageError(
            f"--batch-size must be at most {source.train_size}, the training images of "
            f"{source.name}, got {config.batch_size}."
        )
    if config.batch_size % mode.devices:
        raise UsageError(
            f"--batch-size must be a multiple of the {mode.devices} devices with "
            f"--parallel {config.parallel}, got {config.batch_size}."
        )
    smallest = models.lookup(config.model).smallest_side
    if min(source.image_shape[:2]) < smallest:
        height, width, _ = source.image_shape
        raise UsageError(
            f"--model {config.model} needs images of at least {smallest}x{smallest} "
            f"pixels, those of {source.name} have {height}x{width}."
        )


def compare(config: TrainConfig) -> int:
    """Train with each optimizer, write the records, print the table, draw the plot.

    A run whose loss is not finite ends there; the others go on.

    Returns:
      The exit status: 0, or 1 if a run diverged.
    """
    rows = {name: optimizers.lookup(name) for name in config.optimizers}
    models.lookup(config.model)
    mode = parallel(config.parallel)
    source = data.find(config.dataset, config.data_dir)
    check(config, source, mode)

    folder = records.create_folder(config.out, config.dataset)
    recipes = {
        name: {"formula": row.formula, **row.recipe} for name, row in rows.items()
    }
    records.write_json(folder / "config.json", {**asdict(config), "recipes": recipes})
    device = jax.local_devices()[0]
    devices = {
        "platform": device.platform,
        "kind": device.device_kind,
        "count": mode.devices,
    }
    records.write_json(folder / "header.json", records.header(devices, config.seed))

    trainer = Trainer(config, source.read(), source.classes, mode)
    runs: dict[str, list[dict[str, Any]]] = {}
    diverged = []
    for name, row in rows.items():
        lines = runs[row.label] = []
        with tqdm(
            total=config.epochs, desc=f"{row.label:14}", unit="epoch", disable=None
        ) as bar:
            try:
                for record in trainer.run(name):
                    records.append(folder / f"{name}.jsonl", record)
                    lines.append(record)
                    bar.set_postfix_str(
                        f"loss {record['train_loss']:.4f}, "
                        f"test {record['test_accuracy']:.2%}",
                        refresh=False,
                    )
                    bar.update()
            except DivergedError as error:
                stop = {"run": name, "stopped": str(error)}
                records.append(folder / f"{name}.jsonl", stop)
                diverged.append(f"{name} ended early: {error}.")

    title = f"{config.dataset}, {config.model}, {config.epochs} epochs"
    console = Console()
    console.print(report.table(runs, config.epochs, title))
    report.draw_curves(runs, folder / "curves.png", title)
    print(f"records: {folder}\nplot:    {folder / 'curves.png'}")
    for line in diverged:
        print(line, file=sys.stderr)
    return 1 if diverged else 0
