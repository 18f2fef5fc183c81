"""From words to a verb, and from an error to one sentence and an exit code."""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from convscope import __version__
from convscope.errors import ConvscopeError, TrainingInterrupted
from convscope.naming import unknown_name

DONE, FAILED, WRONG_WORDS, INTERRUPTED = 0, 1, 2, 130

VERBS = {
    "train": "train a network on images and leave a run folder with a report",
    "evaluate": "measure a run on test images: accuracy, per class, confusion matrix",
    "predict": "say what is on your own photographs",
    "summary": "show shapes, parameters, arithmetic, memory and receptive fields of a network",
    "notebook": "run a notebook, a chapter of the book or a script, and keep what it showed",
    "look": "draw what is inside a network and how it behaves",
    "report": "write a run's report.html again",
    "models": "list the networks that can be trained",
    "data": "list, fetch and show data sets",
}
"""Each verb is a module of this package with ``main(words) -> exit code``; it is imported when it is asked for."""


def usage() -> str:
    """What ``convscope --help`` prints."""
    width = max(map(len, VERBS))
    lines = [f"  {verb:<{width}}  {does}" for verb, does in VERBS.items()]
    return "\n".join(
        [
            "usage: convscope VERB ...",
            "",
            "Read a convolution, measure a network, train it fast, see inside it, ship it.",
            "",
            *lines,
            "",
            "Try:   convscope train                  LeNet on handwritten digits, offline, in seconds",
            "       convscope VERB --help            what a verb takes",
            "       convscope --version",
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and turn what it raises into a sentence on stderr.

    Args:
        argv: The words after the program's name; None takes the process's own.

    Returns:
        0 done, 1 the work failed, 2 the words are wrong, 130 interrupted.
    """
    # Read when PyTorch is imported. Threads of GNU's OpenMP wait for each other in a busy loop for milliseconds; where
    # other programs have work for the same cores, a training is ten times slower for it.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    try:
        code = _run(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
        return code
    except TrainingInterrupted as stopped:
        return _fail(str(stopped), INTERRUPTED)
    except KeyboardInterrupt:
        return _fail("interrupted", INTERRUPTED)
    except ConvscopeError as error:
        return _fail(str(error), FAILED)
    except BrokenPipeError:  # the reader of our output, `head` for example, has seen enough
        _forget_output()
        return DONE
    except OSError as error:
        _forget_output()
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{error.strerror or error}", FAILED)
    except Exception as error:
        if is_about_words(error):
            return _fail(str(error), WRONG_WORDS)
        if _is_ours(error, ModuleNotFoundError):  # an extra that is not installed; the message says what to type
            return _fail(str(error), FAILED)
        return _fail(_unexpected(error), FAILED)


def _run(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(usage())
        return DONE
    if words[0] in ("-V", "--version"):
        print(f"convscope {__version__}")
        return DONE
    verb = words[0]
    if verb not in VERBS:
        raise unknown_name("verb", verb, VERBS, hint="convscope --help")
    code: int = importlib.import_module(f"convscope.cli.{verb}").main(words[1:])
    return code


def is_about_words(error: Exception) -> bool:
    """Whether a ``ValueError`` is ours, about something that was typed; one from elsewhere is a bug."""
    return _is_ours(error, ValueError)


def _is_ours(error: Exception, kind: type[Exception]) -> bool:
    """Whether an error is of this very kind, and was raised by a line of this package."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    raised_in = trace.tb_frame.f_globals.get("__name__", "") if trace is not None else ""
    return type(error) is kind and raised_in.partition(".")[0] == "convscope"


def _forget_output() -> None:
    """Send what is left to print nowhere, so that closing stdout does not fail once more."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def who() -> str:
    """Which process of several this is, for messages; empty for the first one, which speaks for all."""
    rank, size = os.environ.get("RANK", "0"), os.environ.get("WORLD_SIZE", "1")
    return "" if rank == "0" or size == "1" else f"rank {rank} of {size} processes"


def _fail(message: str, code: int) -> int:
    print(": ".join(part for part in ("convscope", who(), message) if part), file=sys.stderr)
    return code


def _unexpected(error: Exception) -> str:
    """A bug, or a machine in trouble: keep the traceback in a file for whoever mends it."""
    with tempfile.NamedTemporaryFile("w", prefix="convscope-", suffix=".txt", delete=False, encoding="utf-8") as file:
        traceback.print_exception(error, file=file)
    summary = str(error).strip().splitlines()
    return (
        f"unexpected {type(error).__name__}: {summary[0] if summary else 'no message'} "
        f"(this should not happen; the details are in {Path(file.name)})"
    )
