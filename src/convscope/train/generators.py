"""The random generators that a training may draw from: seeded together, saved and restored together.

Beside PyTorch's there are Python's and NumPy's global ones: an ``Objective`` or a layer of somebody's own may draw from
them. A program that has given NumPy another global generator than its own (MT19937) keeps it, and sees to it itself.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

# ruff: noqa: NPY002 - the global generator is what models and objectives use


def seed_generators(seed: int) -> None:
    """Begin PyTorch's generators, Python's and NumPy's anew.

    Args:
        seed: Not negative.
    """
    torch.manual_seed(seed)
    random.seed(seed)
    if _numpys_own():
        np.random.seed([seed & 0xFFFFFFFF, seed >> 32])  # it takes words of 32 bits


def rng_state(device: torch.device) -> dict[str, Tensor]:
    """The state of the generators that a model on ``device`` may draw from, in this process.

    All of it is tensors, which a checkpoint holds without pickling. Each of Python's and NumPy's generators is two: the
    words of its Mersenne twister with what belongs to them, and the normal number that it has drawn ahead, if any.
    """
    state = {"cpu": torch.get_rng_state()}
    if device.type != "cpu":
        state[device.type] = torch.get_device_module(device).get_rng_state(device)
    _, words, ahead = random.getstate()
    state |= {"python": torch.tensor(words), "python ahead": _drawn_ahead(ahead)}
    if _numpys_own():
        numpys = np.random.get_state(legacy=False)
        state["numpy"] = torch.tensor([*numpys["state"]["key"].tolist(), numpys["state"]["pos"]])
        state["numpy ahead"] = _drawn_ahead(numpys["gauss"] if numpys["has_gauss"] else None)
    return state


def restore_rng(state: dict[str, Tensor], device: torch.device) -> None:
    """The inverse of ``rng_state``; a generator that was not saved is left alone."""
    torch.set_rng_state(state["cpu"])
    if device.type in state and device.type != "cpu":
        torch.get_device_module(device).set_rng_state(state[device.type], device)
    if "python" in state:
        ahead = state["python ahead"].tolist()
        random.setstate((3, tuple(state["python"].tolist()), ahead[0] if ahead else None))
    if "numpy" in state and _numpys_own():
        *keys, position = state["numpy"].tolist()
        ahead = state["numpy ahead"].tolist()
        np.random.set_state(("MT19937", np.array(keys, np.uint32), position, len(ahead), sum(ahead)))


@contextmanager
def generators_kept(device: torch.device) -> Iterator[None]:
    """Draws inside the block do not change what is drawn after it."""
    state = rng_state(device)
    try:
        yield
    finally:
        restore_rng(state, device)


@contextmanager
def lent_generators() -> Iterator[None]:
    """Give the program that trains its own generators of Python and NumPy back afterwards.

    PyTorch's is left where the training left it, as its users expect of ``torch.manual_seed``.
    """
    own = rng_state(torch.device("cpu"))
    try:
        yield
    finally:
        restore_rng({**own, "cpu": torch.get_rng_state()}, torch.device("cpu"))


def _drawn_ahead(normal: float | None) -> Tensor:
    return torch.tensor([] if normal is None else [normal], dtype=torch.float64)


def _numpys_own() -> bool:
    return bool(np.random.get_state(legacy=False)["bit_generator"] == "MT19937")
