"""The progress bar of a run: throughput, loss, accuracy, learning rate, time left."""

from typing import Any

import numpy as np
import optax
from tqdm import tqdm


class Progress:
    """A bar over the examples of a run; nothing where nobody watches a terminal.

    Args:
      label: The name of the run.
      total: Training examples of the whole run, all epochs together.
      schedule: The learning rate.
      batch_size: Examples per step of the optimizer.
      shown: Whether this process shows it.
    """

    def __init__(
        self,
        label: str,
        total: int,
        schedule: optax.Schedule,
        batch_size: int,
        shown: bool = True,
    ):
        self._schedule = schedule
        self._batch_size = batch_size
        self._test = ""
        self._bar = tqdm(
            desc=label,
            total=total,
            unit="ex",
            unit_scale=True,
            disable=None if shown else True,
        )

    def begin_at(self, examples: int) -> None:
        """Say how many examples were seen before the run was resumed."""
        self._bar.initial = self._bar.n = examples

    def advance(self, examples: int, metrics: Any) -> None:
        """Add examples, and show the means over the last steps."""
        if self._bar.disable:
            return
        step = max(0, (self._bar.n + examples) // self._batch_size - 1)
        loss, accuracy = (float(np.mean(x)) for x in metrics)
        self._bar.set_postfix_str(
            f"loss {loss:.4f}, train {accuracy:.1%}{self._test}, "
            f"rate {float(self._schedule(step)):.2g}",
            refresh=False,
        )
        self._bar.update(examples)

    def tested(self, accuracy: float) -> None:
        """Show the last accuracy on the test or validation set from now on."""
        self._test = f", test {accuracy:.1%}"

    def close(self) -> None:
        """Leave the bar as it stands."""
        self._bar.close()
