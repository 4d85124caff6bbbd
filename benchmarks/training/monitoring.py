"""Monitoring of a run: diagnostics for its records, progress bar, event files."""

import math
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax

import padam_optax

with warnings.catch_warnings():  # without ipywidgets a notebook shows text
    warnings.simplefilter("ignore")
    from tqdm.auto import tqdm

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def make_diagnostics(
    opt_state: Any, p: float | None, corrected_b2: float | None
) -> Callable[..., dict[str, jax.Array]]:
    """Make the function that computes diagnostics of this kind of optimizer.

    Args:
      opt_state: A state of the optimizer.
      p: The exponent with which it divides by its second moment, if it has one; None if
        that varies.
      corrected_b2: The decay rate of v where the maximum is that of v/(1-b2^t).

    Returns:
      A function from initial and present weights, optimizer's state and learning rate
      to arrays: distance_from_start; with a second moment and p the quantiles of the
      effective learning rates; with a maximum the fraction of coordinates where it is
      active; with AdaGrad-Norm its b.
    """
    try:
        padam_optax.state.second_moment(
            padam_optax.experimental.dequantize_state(opt_state)
        )
    except ValueError:
        p = None  # no second moment, no rates
    has_max = bool(optax.tree.get_all_with_path(opt_state, "nu_max"))
    has_norm = bool(optax.tree.get_all_with_path(opt_state, "root_sum_of_squares"))

    def read(start, params, opt_state, learning_rate):
        opt_state = padam_optax.experimental.dequantize_state(opt_state)
        result = {"distance_from_start": optax.tree.norm(optax.tree.sub(params, start))}
        if p is not None:
            rates = padam_optax.diagnostics.effective_learning_rates(
                opt_state, learning_rate, p
            )
            quantiles = padam_optax.diagnostics.tree_quantiles(rates, QUANTILES)
            result["effective_learning_rate"] = quantiles
        if has_max:
            result["share_where_max_binds"] = (
                padam_optax.diagnostics.fraction_where_max_active(
                    opt_state, corrected_b2
                )
            )
        if has_norm:
            result["b"] = optax.tree.get(opt_state, "root_sum_of_squares")
        return result

    return read


def to_record(measured: dict[str, jax.Array]) -> dict[str, Any]:
    """Return numbers and lists of them; JSON has no NaN, so None stands for it."""

    def convert(x: Any) -> Any:
        values = [v if math.isfinite(v) else None for v in x.ravel().tolist()]
        return values if x.ndim else values[0]

    return jax.tree.map(convert, jax.device_get(measured))


def in_notebook() -> bool:
    """Return whether this is a notebook: it shows a bar without a terminal."""
    module = sys.modules.get("IPython")  # it runs in one
    shell = module.get_ipython() if module else None
    return shell is not None and "IPKernelApp" in shell.config


class Progress:
    """A progress bar over the examples of a run; hidden without a terminal.

    Args:
      label: The name of the run.
      total: Training examples of the whole run, in all epochs.
      schedule: The learning rate.
      batch_size: Examples per step of the optimizer.
      shown: Whether this process shows it.
      name: The metric's name in the records; "" if there is only the loss.
    """

    def __init__(
        self,
        label: str,
        total: int,
        schedule: optax.Schedule,
        batch_size: int,
        shown: bool = True,
        name: str = "accuracy",
    ):
        self._schedule = schedule
        self._batch_size = batch_size
        self._name = name
        self._test = ""
        self._bar = tqdm(
            desc=label,
            total=total,
            unit="ex",
            unit_scale=True,
            disable=(False if in_notebook() else None) if shown else True,
        )

    def begin_at(self, examples: int) -> None:
        """Set how many examples were seen before the run was resumed."""
        self._bar.initial = self._bar.n = examples

    def advance(self, examples: int, metrics: Any) -> None:
        """Add examples, and show the means over the last steps."""
        if self._bar.disable:
            return
        step = max(0, (self._bar.n + examples) // self._batch_size - 1)
        loss, rate = float(np.mean(metrics[0])), float(self._schedule(step))
        self._bar.set_postfix_str(
            f"loss {loss:.4f}, train {self._write(metrics)}{self._test}"
            + f", rate {rate:.2g}" * math.isfinite(rate),
            refresh=False,
        )
        self._bar.update(examples)

    def tested(self, metrics: Any) -> None:
        """Show the latest metrics on the test or validation set from now on."""
        self._test = f", test {self._write(metrics)}"

    def _write(self, metrics: Any) -> str:
        loss, metric = (float(np.mean(x)) for x in metrics)
        if self._name == "accuracy":
            return f"{metric:.1%}"
        return f"{metric if self._name else loss:.4g}"

    def close(self) -> None:
        """Close the bar and leave it visible."""
        self._bar.close()


class Events:
    """The event file of one run.

    Args:
      folder: Its folder, shared with the event files of earlier starts of the run; None
        to write nothing.
      first_step: Events of earlier files from this step on are hidden.
    """

    def __init__(self, folder: Path | None, first_step: int):
        self._writer = None
        if folder is not None:
            from tensorboardX import SummaryWriter

            self._writer = SummaryWriter(str(folder), purge_step=first_step)

    def write(self, record: Mapping[str, Any]) -> None:
        """Write the numbers of a record under their names."""
        if self._writer is None:
            return
        for name, value in record.items():
            if isinstance(value, float):
                self._writer.add_scalar(name, value, record["step"])
        self._writer.flush()

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.close()
