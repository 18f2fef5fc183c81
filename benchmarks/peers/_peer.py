"""What the scripts of this folder share: the same words in, the same line out. Runs in the peers' own environment."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def make_torchvision_importable() -> None:
    """Its wheel needs help beside a PyTorch for CPUs; to be called before anything imports it."""
    sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "parity"))
    import torchvision_on_cpu

    torchvision_on_cpu.import_networks()


def asked() -> argparse.Namespace:
    """The task that ``epoch.py`` or ``d2l.py`` sets."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", choices=("lenet", "resnet18"), default="lenet")
    parser.add_argument("--size", type=int, default=28, help="side in pixels")
    parser.add_argument("--images", type=int, default=0, help="training images; 0 is all of them")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--data", required=True, help="folder that holds FashionMNIST/raw")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--ours", metavar="PRECISION", help="run the book's program on convscope.d2l")
    return parser.parse_args()


def timed(
    work: Callable[[], object],
    *,
    name: str,
    version: str,
    afterwards: Callable[[dict[str, Any]], dict[str, float]] = lambda found: {},
) -> None:
    """Do the work once and print one line of JSON, with what it returns when that is a dictionary.

    Args:
        work: What is timed.
        name: Whose work.
        version: Of it.
        afterwards: Gets what the work returned; what it adds is not timed.
    """
    began = time.perf_counter()
    more = work()
    seconds = time.perf_counter() - began
    found: dict[str, Any] = more if isinstance(more, dict) else {}
    print(json.dumps({"name": name, "version": version, "seconds": seconds, **found, **afterwards(found)}))
