"""Runs a notebook, cell by cell, in a process of its own, with this Python and nothing of what a kernel's file says.

A notebook names the kernel it was written with: often one of another machine. Which environment convscope is installed
in is known, so its own Python runs the cells.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import signal
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from convscope.notebook.reading import NotebookError, extra
from convscope.notebook.terminal import plain

_ENDS = """
exit = quit = __import__("sys").exit
__import__("warnings").filterwarnings("ignore", message="To exit: use")
"""
"""Lets a program end itself: IPython's own ``exit`` goes on with the cell, and ``sys.exit`` warns."""

_GOOD_ENDS = ("", "0", "None", "False")
"""The words of a ``SystemExit`` that stand for success."""


class Watcher(Protocol):
    """Who wants to know how it goes. Numbers count cells of code, from 1."""

    def started(self, number: int, total: int, source: str) -> None:
        """A cell begins."""

    def said(self, text: str) -> None:
        """A cell wrote something, to stdout or stderr; lines may come in pieces."""

    def finished(self, number: int, seconds: float) -> None:
        """A cell is done, well or not."""


@dataclass(frozen=True)
class Failure:
    """Why a notebook stopped.

    Args:
        number: Which cell of code, counted from 1.
        source: What stands in it.
        reason: One line: the kind of the exception and its words.
        traceback: As Python shows it, without colours; empty when the process was lost or ended itself.
    """

    number: int
    source: str
    reason: str
    traceback: str


@dataclass(frozen=True)
class Outcome:
    """How a run ended. The outputs are in the notebook, up to where it stopped.

    Args:
        total: Cells of code.
        ran: How many of them were begun; with neither a failure nor Ctrl-C, fewer than all tell that the program ended
            itself, with success.
        seconds: For all cells, without starting the process.
        failure: What went wrong in the last of them; None when nothing did.
        interrupted: Whether somebody pressed Ctrl-C.
    """

    total: int
    ran: int
    seconds: float
    failure: Failure | None
    interrupted: bool = False


def run(
    notebook: Any,
    *,
    folder: Path,
    watcher: Watcher,
    preparation: str = "",
    environment: Mapping[str, str] | None = None,
) -> Outcome:
    """Run the cells of a notebook until one fails or ends the program, and put their outputs into it.

    Args:
        notebook: An ``nbformat.NotebookNode``; its outputs are replaced.
        folder: The working folder of the cells.
        watcher: Told how it goes.
        preparation: Code that runs before the first cell and leaves nothing in the notebook.
        environment: Variables for the process, besides those of this one.

    Raises:
        NotebookError: There is no cell of code, no kernel, or the preparation failed.
        KeyboardInterrupt: Somebody pressed Ctrl-C before the first cell.
    """
    code = [(i, cell) for i, cell in enumerate(notebook.cells) if cell.cell_type == "code" and cell.source.strip()]
    if not code:
        raise NotebookError("there is no code in it")
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    for needed in ("nbclient", "ipykernel"):
        extra(needed)
    from convscope.notebook.kernel import Client

    variables = {**os.environ, **(environment or {})}
    client = Client(notebook, watcher.said)
    try:
        return asyncio.run(_run(client, code, watcher, preparation, folder=folder, variables=variables))
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


async def _run(
    client: Any,
    code: list[tuple[int, Any]],
    watcher: Watcher,
    preparation: str,
    *,
    folder: Path,
    variables: Mapping[str, str],
) -> Outcome:
    async with AsyncExitStack() as open_until_here:
        await _start(client, open_until_here, folder, variables)
        await _prepare(client, _ENDS + preparation)
        interrupts = _Interrupts(client)
        begin = time.perf_counter()
        ran, failure = await _run_cells(client, code, watcher, interrupts)
        seconds = time.perf_counter() - begin
        await interrupts.settled()
    client.nb.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return Outcome(len(code), ran, seconds, failure, interrupted=bool(interrupts))


async def _start(client: Any, stack: AsyncExitStack, folder: Path, variables: Mapping[str, str]) -> None:
    try:
        await stack.enter_async_context(client.async_setup_kernel(cwd=str(folder), env=dict(variables)))
    except RuntimeError as error:  # it died at once, or did not answer
        atexit.unregister(client._cleanup_kernel)  # nbclient leaves it behind, to fail when this program ends
        raise NotebookError(f"no kernel: Python's process for the cells did not start ({error})") from error
    except asyncio.CancelledError:
        atexit.unregister(client._cleanup_kernel)
        with suppress(RuntimeError):  # there is no process yet
            await client.km.shutdown_kernel(now=True)
        raise


class _Interrupts:
    """Ctrl-C interrupts the cell, not this program, so that what it has shown can still be written; again ends it."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._tasks: list[asyncio.Future[None]] = []
        with suppress(RuntimeError, ValueError):  # Windows has no such handlers, nor has a thread; Ctrl-C ends us there
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self._interrupt)

    def __bool__(self) -> bool:
        return bool(self._tasks)

    def _interrupt(self) -> None:
        if self._client.km is not None:
            kernel = self._client.km
            self._tasks.append(
                asyncio.ensure_future(kernel.shutdown_kernel(now=True) if self else kernel.interrupt_kernel())
            )

    async def settled(self) -> None:
        """Wait until what was asked of the process is done, for its end is next."""
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _prepare(client: Any, code: str) -> None:
    said: list[str] = []

    def hear(message: dict[str, Any]) -> None:
        if message["msg_type"] == "error":
            said.append(f"{message['content']['ename']}: {message['content']['evalue']}")

    reply = await client.kc.execute_interactive(code, silent=True, store_history=False, output_hook=hear)
    if reply["content"]["status"] != "ok":
        raise NotebookError(f"the notebook could not be prepared: {said[-1] if said else 'no reason was given'}")


async def _run_cells(
    client: Any, code: list[tuple[int, Any]], watcher: Watcher, interrupts: _Interrupts
) -> tuple[int, Failure | None]:
    """How many cells were begun, and what went wrong in the last of them."""
    exceptions = extra("nbclient.exceptions")
    for number, (place, cell) in enumerate(code, start=1):
        await asyncio.sleep(0.001)  # lets arrive what came while nothing was waited for
        if interrupts:  # also when a cell has caught it
            return number - 1, None
        watcher.started(number, len(code), cell.source)
        begin = time.perf_counter()
        try:
            await client.async_execute_cell(cell, place, execution_count=number)
        except exceptions.CellExecutionError as error:
            return number, _judged(error, number, cell)
        except exceptions.DeadKernelError:
            reason = "stopped by Ctrl-C" if interrupts else "it may have run out of memory, or been stopped"
            return number, Failure(number, cell.source, f"the process of the notebook ended: {reason}", "")
        finally:
            watcher.finished(number, time.perf_counter() - begin)
    return len(code), None


def _judged(error: Any, number: int, cell: Any) -> Failure | None:
    """What an exception that left a cell stands for; None, and nothing is shown of it, for a program that is done."""
    if error.ename != "SystemExit":
        return Failure(number, cell.source, f"{error.ename}: {error.evalue}".strip(), _traceback(cell))
    if error.evalue in _GOOD_ENDS:
        cell.outputs = [output for output in cell.outputs if output.get("ename") != "SystemExit"]
        return None
    how = f" with exit code {error.evalue}" if error.evalue.lstrip("-").isdecimal() else f": {error.evalue}"
    return Failure(number, cell.source, f"the program ended itself{how}", "")


def _traceback(cell: Any) -> str:
    lines = [line for output in cell.outputs if output.output_type == "error" for line in output.traceback]
    return plain("\n".join(lines))
