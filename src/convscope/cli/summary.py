"""``convscope summary``: shapes, parameters, arithmetic, memory and receptive fields of any network."""

from __future__ import annotations

import importlib
import inspect
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, TypeVar

import torch
from rich.console import Console
from torch import nn
from tyro.conf import Positional

from convscope import models
from convscope.cli.console import Switch, parse, print_json
from convscope.measure import Finding, Summary, lint, summary
from convscope.measure.lint import as_text
from convscope.naming import unknown_name

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Words:
    """Show what a network is made of: shapes, parameters, MACs and FLOPs, memory, receptive fields."""

    model: Positional[str]
    """A registered name, a run folder, or your own class as module:Class, found in the current folder."""
    image_size: int | None = None
    """Side of the images in pixels; by default as published, or as the run was trained."""
    in_channels: int | None = None
    """1 for grey, 3 for colour."""
    num_classes: int | None = None
    """Scores for each image."""
    depth: int | None = 2
    """How deep in the tree of modules; None shows all."""
    columns: str | None = None
    """Names with commas: layer, type, output, calls, parameters, trainable, frozen, shared, macs, flops, inference,
    training, field, jump, padding; by default as many as fit."""
    sort: str | None = None
    """A column: numbers the largest first, words from A to Z. By default in the order in which they run."""
    format: Literal["table", "markdown", "csv", "json", "html"] = "table"
    """How to print it."""
    style: Literal["full", "book"] = "full"
    """book: one line for each child of the network, its class and the shape of its output."""
    json: Switch = False
    """The same as --format json."""
    lint: Switch = False
    """Say what may not have been meant, why it matters, and what to change; with --json as a list."""


def main(words: list[str]) -> int:
    """Run the verb."""
    asked = parse(words, Words, "summary")
    refuse_contradictions(asked, words)
    model, name, channels, side = find_model(asked)
    size = channels, *side
    if asked.lint:
        _say(_about(asked, lambda: lint(model, size)), as_json=asked.json or asked.format == "json")
        return 0
    result = _about(asked, lambda: summary(model, size, name=name))
    if asked.style == "book":
        print(result.layer_summary())
        return 0
    result = result.select(depth=asked.depth, sort=asked.sort)
    columns = [word.strip() for word in asked.columns.split(",")] if asked.columns is not None else None
    _print(result, "json" if asked.json else asked.format, columns)
    return 0


def _about(asked: Words, measure: Callable[[], T]) -> T:
    """A measurement, whose complaint about the kind of network is one about the word that was typed."""
    try:
        return measure()
    except TypeError as error:
        if asked.model.find(":") > 0:  # a class of the user's own may be anything
            raise ValueError(f"{asked.model} cannot be measured: {error}") from error
        raise


def refuse_contradictions(asked: Words, words: Sequence[str]) -> None:
    """Refuse flags that would be read and then not obeyed.

    Raises:
        ValueError: Two flags that cannot both be obeyed; the message says which to leave out.
    """
    typed = [flag for flag in ("--depth", "--columns", "--sort", "--style", "--format", "--json")
             if any(word.partition("=")[0] == flag for word in words)]  # fmt: skip
    if asked.json and asked.format not in ("json", "table"):
        raise ValueError(f"--json and --format {asked.format} ask for two forms: leave out one")
    as_json = asked.json or asked.format == "json"
    if asked.lint:
        useless = [flag for flag in typed if flag in ("--depth", "--columns", "--sort", "--style")]
        if asked.format not in ("json", "table"):
            useless.append(f"--format {asked.format}")
        what = "--lint gives findings as text or, with --json, as a list"
    elif asked.style == "book":
        useless = [flag for flag in typed if flag in ("--depth", "--columns", "--sort", "--json")]
        if asked.format != "table":
            useless.append(f"--format {asked.format}")
        what = "--style book prints a line of text for each layer"
    else:
        useless = ["--columns"] if as_json and asked.columns is not None else []
        what = "JSON holds all columns"
    if useless:
        raise ValueError(f"{what}: leave out {' and '.join(useless)}")


def _say(findings: list[Finding], *, as_json: bool) -> None:
    if as_json:
        print_json([finding.to_dict() for finding in findings])
        return
    print(as_text(findings, min(120, shutil.get_terminal_size((100, 24)).columns)))


def _print(result: Summary, form: str, columns: list[str] | None) -> None:
    if form == "table":
        width = shutil.get_terminal_size((160, 24)).columns  # COLUMNS, or the terminal's own
        Console(highlight=False, width=width).print(result.to_table(width, columns), markup=False)
        return
    text = {
        "json": lambda: result.to_json() + "\n",
        "csv": lambda: result.to_csv(columns),
        "markdown": lambda: result.to_markdown(columns),
        "html": lambda: result.to_html(columns),
    }[form]()
    sys.stdout.write(text)


def find_model(asked: Words) -> tuple[nn.Module, str, int, tuple[int, int]]:
    """The network that was named, what to call it, ``C`` of its images, and their ``(H, W)``.

    Raises:
        ValueError: Unknown name, module or class, or a size is missing.
        RunError: A folder that is no run.
    """
    word = asked.model
    if ":" in word and not Path(word).exists():
        return _own_class(word, asked)
    if Path(word).exists() or "/" in word or "\\" in word:
        return _of_run(word, asked)
    info = models.info(word)
    model = models.create(
        word,
        in_channels=asked.in_channels,
        num_classes=asked.num_classes,
        image_size=asked.image_size,
        device=None if asked.lint else "meta",  # some rules look at the values of weights, a summary needs none
    )
    pixels = asked.image_size or info.image_size
    return model, word, asked.in_channels or info.in_channels, (pixels, pixels)


def _of_run(word: str, asked: Words) -> tuple[nn.Module, str, int, tuple[int, int]]:
    """A run's network with its trained weights; without values where none have been written yet."""
    from convscope.deploy import make_model
    from convscope.train import Run

    run = Run.open(word)
    for flag in ("in_channels", "num_classes"):
        if getattr(asked, flag) is not None:
            raise ValueError(f"--{flag.replace('_', '-')} cannot change a run: {word} has its network already")
    if (run.path / "model.safetensors").is_file():
        model = make_model(run)
        run.load_weights(model)  # also weights that are NaN, which no prediction would be made with: to say so
    else:
        with torch.device("meta"):
            model = make_model(run)
    side = (asked.image_size, asked.image_size) if asked.image_size else run.preprocess.image_size
    return model, run.model_name, run.preprocess.channels, side


def _own_class(word: str, asked: Words) -> tuple[nn.Module, str, int, tuple[int, int]]:
    """``module:Class``, imported from the current folder or from wherever Python looks."""
    module_name, _, class_name = word.partition(":")
    if asked.image_size is None:
        raise ValueError(f"--image-size is needed for a class of your own: convscope summary {word} --image-size 32")
    module = _imported(module_name.removesuffix(".py"))
    if not hasattr(module, class_name):
        named = [
            name for name, value in vars(module).items() if isinstance(value, type) and issubclass(value, nn.Module)
        ]
        raise unknown_name(f"class in {module_name}", class_name, named)
    model = _made(getattr(module, class_name), word, asked)
    first = next((m for m in model.modules() if isinstance(m, nn.modules.conv._ConvNd)), None)
    guessed = first.in_channels if first is not None and first.in_channels else 3
    return model, class_name, asked.in_channels or guessed, (asked.image_size, asked.image_size)


def _imported(name: str) -> ModuleType:
    """A module of the user's own.

    Raises:
        ValueError: There is none, or running it fails.
    """
    sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"there is no module {name!r} here or on Python's path ({error}); "
            "write module:Class and start in the folder of module.py"
        ) from error
    except Exception as error:  # the user's own code: whatever it raises is what is said
        raise ValueError(f"{name}.py cannot be imported: {_first_line(error)}") from error
    finally:
        sys.path.pop(0)


def _first_line(error: Exception) -> str:
    """What was raised, in one line."""
    said = str(error).strip().splitlines()
    return f"{type(error).__name__}: {said[0]}" if said else type(error).__name__


def _made(found: Any, word: str, asked: Words) -> nn.Module:
    """A module that is there already, or what a class or function makes of those flags that it has."""
    if isinstance(found, nn.Module):
        return found
    if not callable(found):
        raise ValueError(
            f"{word} is a {type(found).__name__}; name a class, a function that makes a module, or a module"
        )
    takes = inspect.signature(found).parameters
    flags = {name: getattr(asked, name) for name in ("in_channels", "num_classes", "image_size")}
    given = {name: value for name, value in flags.items() if name in takes and value is not None}
    missing = [
        name
        for name, p in takes.items()
        if p.default is p.empty and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and name not in given
    ]
    if missing:
        hint = [f"--{name.replace('_', '-')}" for name in missing if name in flags]
        advice = f"give {' and '.join(hint)}" if len(hint) == len(missing) else "give them defaults"
        raise ValueError(f"{word} needs {', '.join(missing)} to be made; {advice}")
    try:
        model = found(**given)
    except Exception as error:  # the user's own code: whatever it raises is what is said
        raise ValueError(f"{word} could not be made: {_first_line(error)}") from error
    if not isinstance(model, nn.Module):
        raise ValueError(f"{word} made a {type(model).__name__}; expected an nn.Module")
    if "_modules" not in vars(model) and not isinstance(model, torch.jit.ScriptModule):
        raise ValueError(f"{word} is no complete nn.Module: call super().__init__() first in its __init__")
    return model
