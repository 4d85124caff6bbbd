"""Event files for TensorBoard, without TensorFlow; the only user of tensorboardX."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Events:
    """The event file of one run.

    Args:
      folder: Where it is written, beside those of the times before it was resumed; None
        to write nothing.
      first_step: What earlier files have from this step on is not shown.
    """

    def __init__(self, folder: Path | None, first_step: int):
        self._writer = None
        if folder is not None:
            from tensorboardX import SummaryWriter

            self._writer = SummaryWriter(str(folder), purge_step=first_step)

    def write(self, record: Mapping[str, Any]) -> None:
        """Write the numbers of a record, under the names they have there."""
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
