"""SIGTERM, which clusters send before they preempt a machine, as a flag."""

import signal
from types import FrameType, TracebackType

import jax
from jax.experimental import multihost_utils


class PreemptedError(Exception):
    """The run was told to stop, and has saved a checkpoint."""


class Preemption:
    """Catch SIGTERM instead of terminating, within the context.

    With several processes JAX catches it, and synchronizes where they stop.
    """

    def __init__(self) -> None:
        self._noted = False
        self._asked = 0

    def __enter__(self) -> "Preemption":
        if jax.process_count() == 1:
            self._former = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if jax.process_count() == 1:
            signal.signal(signal.SIGTERM, self._former)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._noted = True

    def requested(self) -> bool:
        """Whether to save and stop now; all processes must ask equally often."""
        if jax.process_count() > 1:
            # The processes agree on a number that none has asked with, one more than
            # the largest so far: it must be one that comes, unlike those of steps.
            self._asked += 1
            self._noted |= multihost_utils.reached_preemption_sync_point(self._asked)
        return self._noted
