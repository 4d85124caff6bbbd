"""A run's checkpoints: written asynchronously and atomically.

The only user of Orbax.
"""

import copy
import functools
import json
import logging
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from orbax.checkpoint import v1 as ocp

from benchmarks.errors import UsageError
from benchmarks.training.devices import DeviceLayout
from benchmarks.training.options import CheckpointOptions

_policies = ocp.training.preservation_policies
Checkpointer: Any = ocp.training.Checkpointer  # its types are of other modules


class Checkpoints:
    """The checkpoints of one run: the latest ones and the best.

    The best is the one with the highest test accuracy among those that were saved.

    Args:
      folder: Their folder, on a disk that all processes share; created if missing.
      layout: The devices of the run.
      keep: How many of the latest to keep, at least 1.
      seconds: Minimum time between saves.

    Attributes:
      is_new: Whether the folder did not exist before.
    """

    def __init__(self, folder: Path, layout: DeviceLayout, keep: int, seconds: float):
        _silence_orbax()
        self.folder = folder.absolute()
        self.is_new = not folder.exists()
        self.layout = layout
        self.seconds = seconds
        self._last = time.monotonic()
        self._saving: Any = None
        _check_accuracies(self.folder)
        best = _policies.BestN(
            n=1,
            get_metric_fn=lambda metrics: metrics["accuracy"],
            # One without is what a process that was killed had begun to delete.
            keep_checkpoints_without_metrics=False,
        )
        self._policy = _policies.AnyPreservationPolicy([_policies.LatestN(keep), best])
        try:
            self._orbax = Checkpointer(
                self.folder,
                preservation_policy=self._policy,
                cleanup_tmp_directories=True,  # what a killed process left half-written
            )
        except OSError as error:
            raise self._unwritten(error) from error

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        try:
            self.close()
        except UsageError:
            if error is None:
                raise

    @property
    def latest(self) -> int | None:
        """The step of the latest checkpoint; None if there is none."""
        latest = self._orbax.latest
        return None if latest is None else latest.step

    def restore(self, like: Any) -> tuple[Any, dict[str, Any]]:
        """Read the latest checkpoint, and the notes that were saved with it.

        The result has the structure, shapes, dtypes and shardings of `like`; the
        devices may differ from those it was saved on.

        Raises:
          UsageError: If the checkpoint is damaged or does not fit, naming it.
        """
        step = self.latest
        if self.layout.strategy == "jit":
            target = jax.tree.map(
                lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding),
                like,
            )
        else:
            target = jax.device_get(like)
        try:
            saved: Any = self._orbax.metadata(step)
            if saved.custom_metadata.get("step") != step:
                raise ValueError(f"_CHECKPOINT_METADATA is not that of step {step}")
            _check_fit(saved.metadata, jax.tree.map(_bits, like))
            state = self._orbax.load(step, target)
            _check_fit(state, like)  # of keys their kind, too
        except Exception as error:  # Orbax and TensorStore raise many kinds
            raise _damaged(self.folder / str(step), error) from error
        if self.layout.strategy == "pmap":
            state = self.layout.replicate(state)
        return state, saved.custom_metadata["notes"]

    def should_save(self) -> bool:
        """Whether it is time for the next one; the same in every process."""
        return bool(
            self.layout.broadcast(time.monotonic() - self._last >= self.seconds)
        )

    def save(
        self, step: int, state: Any, accuracy: float, notes: dict[str, Any]
    ) -> None:
        """Start saving a state; its arrays may be donated once this returns.

        Args:
          step: The number of the checkpoint, higher than those before.
          state: A tree of arrays.
          accuracy: Test accuracy by which the best is chosen.
          notes: JSON data that `restore` returns with the state.

        Raises:
          UsageError: If this or the previous one cannot be written, as on a full disk.
        """
        if self.layout.strategy == "pmap":
            state = jax.device_get(state)
        try:
            former, self._saving = (
                self._saving,
                self._orbax.save_async(
                    step,
                    state,
                    force=True,
                    metrics={"accuracy": accuracy},
                    # A copy, for it is written later.
                    custom_metadata={"step": step, "notes": copy.deepcopy(notes)},
                ),
            )
            _release(former)
        except Exception as error:
            raise self._unwritten(error) from error
        self._last = time.monotonic()

    def delete_outdated(self) -> None:
        """Delete what a later save would: a killed process may not have got to it."""
        found, context = self._orbax.checkpoints, _policies.PreservationContext()
        is_kept = self._policy.should_preserve(found, context=context)
        try:
            for checkpoint, kept in zip(found, is_kept, strict=True):
                if not kept:
                    self._orbax.delete(checkpoint, missing_ok=True)
        except OSError as error:
            raise self._unwritten(error) from error

    def close(self) -> None:
        """Wait until everything is written; raise a UsageError if it cannot be."""
        try:
            try:
                self._orbax.close()
            finally:
                _release(self._saving)
        except Exception as error:
            raise self._unwritten(error) from error

    def _unwritten(self, error: Exception) -> UsageError:
        reason = _shorten(error, self.folder)
        return UsageError(
            f"a checkpoint cannot be written to {self.folder} ({reason}); those before "
            "it are complete: free some disk space, then resume with --resume."
        )


class NoCheckpoints(Checkpoints):
    """Replaces a run's checkpoints if none are wanted."""

    is_new = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def latest(self) -> None:
        """The step of the latest checkpoint: there is none."""
        return

    def should_save(self) -> bool:
        """Whether it is time for the next one: never."""
        return False

    def save(self, *arguments: Any) -> None:
        """Save nothing."""

    def delete_outdated(self) -> None:
        """Delete nothing."""

    def close(self) -> None:
        """Wait for nothing."""


def open_checkpoints(
    folder: Path, layout: DeviceLayout, options: CheckpointOptions
) -> Checkpoints:
    """Open the checkpoints of a run, according to its options."""
    if not options.keep:
        return NoCheckpoints(folder)
    return Checkpoints(folder, layout, options.keep, options.checkpoint_seconds)


def _release(saving: Any) -> None:
    """End the thread of a finished save, which Orbax keeps until asked."""
    if saving is not None:
        saving.result()


@functools.cache
def _silence_orbax() -> None:
    """Silence Orbax's log of each step, and of errors that are raised anyway."""
    former = sys.unraisablehook

    def on_unraisable(problem: Any) -> None:
        # If several reads or writes fail, only the first failure is awaited.
        if str(problem.exc_value) != "Event loop is closed":
            former(problem)

    sys.unraisablehook = on_unraisable
    for name in ("absl", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)


def _check_accuracies(folder: Path) -> None:
    """Name the checkpoint whose accuracy is unreadable, which Orbax does not."""
    for path in folder.glob("*"):
        if not path.name.isdecimal():
            continue
        try:
            json.loads((path / "metrics" / "metrics").read_text())
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            raise _damaged(path, error) from error


def _check_fit(saved: Any, like: Any) -> None:
    found, wanted = _describe(saved), _describe(like)
    for name in sorted({*found, *wanted}):
        if found.get(name) != wanted.get(name):
            raise ValueError(
                f"{name} is {found.get(name, 'not there')} instead of "
                f"{wanted.get(name, 'not there')}"
            )


def _bits(x: Any) -> Any:
    """Return the array in which typed random keys are saved."""
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        return jax.random.key_data(x)
    return x


def _describe(tree: Any) -> dict[str, str]:
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): (
            f"{x.dtype}{list(x.shape)}"
        )
        for path, x in jax.tree.leaves_with_path(tree)
    }


def _damaged(path: Path, error: Exception) -> UsageError:
    reason = _shorten(error, path.parent)
    return UsageError(
        f"the checkpoint {path} is damaged or not of this run ({reason}); remove it to "
        "resume from the previous one, or start over with another --out."
    )


def _shorten(error: BaseException, folder: Path) -> str:
    """Shorten the message of the root cause of an error."""
    seen: list[BaseException] = []  # a re-raised error may be its own cause
    while (before := error.__cause__ or error.__context__) and error not in seen:
        seen.append(error)
        error = before
    text = " ".join(str(error).replace(f"{folder}/", "").split())
    return text[:200] or type(error).__name__
