"""What has changed since a run was begun? Only the same training goes on to the same result."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

GROUPS = ("model", "data", "input", "train")
FREE = {
    ("data", "name"),
    ("data", "source"),
    ("train", "execution", "log_interval"),
    ("train", "saving", "checkpoint_every"),
    ("train", "saving", "keep"),
}
"""What may change as it likes.

Where the images lie and what they are called: their fingerprint says whether they are the same. How often a row or a
checkpoint is written, and how many epochs' weights are kept beside the last ones: no weight depends on it. ``keep`` to
or from ``best`` is a difference all the same, because it decides which weights are the result. So is everything else,
the number of threads included: sums in another order have other last bits.
"""
LABELS = {("model", "name"): "--model", ("data", "fingerprint"): "the images themselves (fingerprint)"}
LONGEST = 60  # characters of a value


def differences(saved: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Say what would train in another way, one line each; an empty list means that nothing would.

    Args:
        saved: The ``config.json`` of a run: nested plain values in the groups ``model``, ``data``, ``input`` and
            ``train``. A value that it lacks, because an earlier version wrote it, is no difference.
        now: The same of what is asked for now. A group that it lacks is not compared.

    Example:
        >>> saved = {"train": {"epochs": 10, "optimizer": {"lr": 0.01}}}
        >>> differences(saved, {"train": {"epochs": 10, "optimizer": {"lr": 0.1, "ema": 0.9}}})
        ['--lr: 0.01 then, 0.1 now']
    """
    groups = [group for group in GROUPS if group in saved and group in now]
    then = dict(_leaves({group: saved[group] for group in groups}))
    here = dict(_leaves({group: now[group] for group in groups}))
    return [
        f"{_label(path)}: {_short(value)} then, {_short(here[path]) if path in here else 'not given'} now"
        for path, value in then.items()
        if path not in here or here[path] != value
        if not _free(path, value, here.get(path))
    ]


def _leaves(values: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every plain value with the names that lead to it; tuples as the lists that JSON makes of them."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*path, name))
        else:
            yield (*path, name), list(value) if isinstance(value, tuple) else value


def _free(path: tuple[str, ...], then: Any, now: Any) -> bool:
    if path[-1] == "keep" and "best" in (then, now):
        return False
    return any(path[: len(free)] == free for free in FREE)


def _label(path: tuple[str, ...]) -> str:
    """As it is typed where it is a flag, in words where it is none."""
    if path in LABELS:
        return LABELS[path]
    if path[0] == "train":
        return f"--{path[-1].replace('_', '-')}"
    return " ".join(path).replace("_", " ")


def _short(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
