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
JUDGES = (("data",), ("input",), ("train", "seed"), ("train", "val_fraction"), ("train", "test_flip"))
"""What decides by which validation images a network is judged, and how it sees them."""
DEALS = (("train", "seed"), ("train", "val_fraction"), ("data", "train_images"))
"""What decides which of the training images are held out for validation."""
MISSING = object()
LABELS = {
    ("model", "name"): "--model",
    ("model", "layers"): "the layers of the network (fingerprint)",
    ("data", "fingerprint"): "the images themselves (fingerprint)",
}
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
    return _lines(_changes(saved, now))


def dealt_anew(saved: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Say what holds out other images than before, one line each; an empty list where none or the same are held out.

    Args:
        saved: What a run was trained under, as ``config.json`` has it.
        now: The same of what is asked for now.

    Example:
        >>> dealt_anew({"train": {"val_fraction": 0.0}}, {"train": {"val_fraction": 0.2}})
        ['--val-fraction: 0.0 then, 0.2 now']
    """
    if not now.get("train", {}).get("val_fraction"):
        return []
    return _lines([change for change in _changes(saved, now) if change[0] in DEALS])


def same_work(saved: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether an image takes the same arithmetic as before: the same network sees it in the same size.

    Args:
        saved: What a run was trained under, as ``config.json`` has it.
        now: The same of what is asked for now.

    Example:
        >>> same_work({"input": {"image_size": [28, 28]}}, {"input": {"image_size": [32, 32]}})
        False
    """
    return not any(path[0] == "model" or path == ("input", "image_size") for path, _, _ in _changes(saved, now))


def why_best_is_void(saved: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Why the best epoch of a run does not count any more where it goes on; empty where it does.

    A score is compared with later ones only where the same images were seen in the same way; and an epoch is the result
    only where its weights were kept.

    Args:
        saved: What the epoch was trained under, as ``config.json`` has it.
        now: The same of what is asked for now.

    Example:
        >>> why_best_is_void({"train": {"val_fraction": 0.1}}, {"train": {"val_fraction": 0.2}})
        'it was judged by other images, or in another way'
    """
    changes = _changes(saved, now)
    if any(path == ("train", "saving", "keep") and here == "best" for path, _, here in changes):
        return "its own weights were not kept"
    if any(path[: len(judge)] == judge for path, _, _ in changes for judge in JUDGES):
        return "it was judged by other images, or in another way"
    return ""


def _changes(saved: Mapping[str, Any], now: Mapping[str, Any]) -> list[tuple[tuple[str, ...], Any, Any]]:
    """The names that lead to each value that differs and is not free, with the value then and the one now."""
    groups = [group for group in GROUPS if group in saved and group in now]
    then = dict(_leaves({group: saved[group] for group in groups}))
    here = dict(_leaves({group: now[group] for group in groups}))
    found = [(path, value, here.get(path, MISSING)) for path, value in then.items()]
    return [change for change in found if change[1] != change[2] and not _free(*change)]


def _lines(changes: list[tuple[tuple[str, ...], Any, Any]]) -> list[str]:
    return [
        f"{_label(path)}: {_short(then)} then, {'not given' if here is MISSING else _short(here)} now"
        for path, then, here in changes
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
