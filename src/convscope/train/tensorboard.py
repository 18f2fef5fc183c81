"""The curves of a run for TensorBoard, for those who have it open anyway."""

from __future__ import annotations

from typing import Any

from convscope.train.events import Event, Finished, Logged, Started


class TensorBoard:
    """A listener that writes every number of every row into ``tensorboard/`` of the run folder.

    Raises:
        ModuleNotFoundError: TensorBoard is not installed.
    """

    def __init__(self) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ModuleNotFoundError(
                "--tensorboard needs the package tensorboard: pip install 'convscope[tensorboard]'"
            ) from error
        self._make: Any = SummaryWriter
        self._writer: Any = None

    def __call__(self, event: Event) -> None:
        """Hear an event."""
        if isinstance(event, Started):  # rows after the last checkpoint of a sitting that was cut off are written again
            self._writer = self._make(str(event.folder / "tensorboard"), purge_step=event.step + 1)
        elif isinstance(event, Logged):
            for name, value in event.row.values.items():
                self._writer.add_scalar(f"{event.row.kind}/{name}", value, event.row.step)
            self._writer.flush()
        elif isinstance(event, Finished):
            self._writer.close()
