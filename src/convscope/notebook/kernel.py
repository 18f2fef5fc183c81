"""The process that runs the cells. Imported when a notebook runs, for it needs the extra ``[notebook]``."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

STARTUP_SECONDS = 180
"""What a kernel may take to answer; loading a busy disk's Python can take a minute."""


class OwnPython(AsyncKernelManager):
    """Starts this very Python, whatever kernels are installed."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        if self.has_trait("transport_encryption"):  # others on this machine could listen to an open port
            self.transport_encryption = "auto"

    @property
    def kernel_spec(self) -> KernelSpec:
        """How to start it; the file that tells it where to listen comes in the last place."""
        return KernelSpec(
            argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
            display_name="Python",
            language="python",
            metadata={"supported_encryption": "curve"},
        )


class Client(NotebookClient):
    """Runs cells, and passes on what they write while they write it. Ctrl-C cancels its start.

    Args:
        notebook: An ``nbformat.NotebookNode``.
        said: Gets each piece of text that goes to stdout or stderr.
    """

    def __init__(self, notebook: Any, said: Callable[[str], None]) -> None:
        super().__init__(
            notebook,
            timeout=None,
            startup_timeout=STARTUP_SECONDS,
            kernel_manager_class=OwnPython,
            kernel_name="own",
            coalesce_streams=True,
        )
        self._said = said

    async def async_start_new_kernel(self, **kwargs: Any) -> None:
        """Start the process, with no handler of nbclient's for Ctrl-C: it would leave who waits waiting."""
        task = asyncio.current_task()
        with suppress(RuntimeError, ValueError):  # Windows has no such handlers, nor has a thread
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, task.cancel)  # type: ignore[union-attr]
        await super().async_start_new_kernel(**kwargs)

    def process_message(self, msg: dict[str, Any], cell: Any, cell_index: int) -> Any:
        """Take one message of the kernel."""
        if msg["msg_type"] == "stream":
            self._said(msg["content"]["text"])
        return super().process_message(msg, cell, cell_index)
