"""How a run that goes on executes: as it did, but for what is asked for otherwise now."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import torch

from convscope.errors import RunError
from convscope.train.config import ExecutionConfig
from convscope.train.plan import Plan, find_device
from convscope.train.probe import cores
from convscope.train.run import Run

PLANNED = ("device", "threads", "precision", "memory_format", "compile", "deterministic")
"""The settings that a plan answers."""


class Precedent(NamedTuple):
    """What a run that goes on plans by.

    Args:
        execution: The settings to plan for; what was found for the run so far is among them.
        plan: To take over as it is; None where something has to be found out.
        note: What a person should know about it; empty where all is as it was.
    """

    execution: ExecutionConfig
    plan: Plan | None = None
    note: str = ""


def precedent(run: Run, now: ExecutionConfig, *, same_work: bool = True) -> Precedent:
    """The plan of a run so far, opened again only for the settings that are others now.

    On another kind of device all of it is found out anew: what is fast on one says nothing about another.

    Args:
        run: Says how it was executed last, and for which settings that was planned.
        now: What is asked for from here on.
        same_work: Whether an image takes as much arithmetic as it did; where not, what was counted is left out.

    Raises:
        ValueError: The device is not on this machine.
    """
    try:
        first = run.environment
        last = [first, *first.get("resumed", [])][-1]
        plan = Plan.from_dict(last["plan"])
        asked = dict(last.get("asked", run.config["train"]["execution"]))
    except (RunError, AttributeError, KeyError, TypeError, ValueError):
        lost = (
            f"{run.path / 'environment.json'} is lost or damaged: how to execute is found out anew, and the last bits"
        )
        return Precedent(now, note=f"{lost} may be others than without a stop")
    changed = [name for name in PLANNED if asked.get(name, getattr(now, name)) != getattr(now, name)]
    if not changed:
        return Precedent(now, plan if same_work else replace(plan, image_macs=None))
    stays = now.device == "auto" and "device" not in changed and plan.device == "cpu"
    device = "cpu" if stays else now.device  # an accelerator that came since was not asked for
    if find_device(device).type != torch.device(plan.device).type:
        return Precedent(now)
    found: dict[str, Any] = {
        "device": device,
        "threads": min(plan.threads, cores()),
        "precision": plan.precision,
        "memory_format": plan.memory_format,
        "compile": plan.compiled,
    }
    return Precedent(replace(now, **{name: value for name, value in found.items() if name not in changed}))
