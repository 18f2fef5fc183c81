"""What a summary costs, in time and memory, against torchinfo 1.8.0 and fvcore, in the same process.

Four networks at the sizes they were published with, weights on the processor, batch of one. Ours measures shapes,
parameters, MACs, memory for inference and training, and receptive fields; torchinfo shapes, parameters and
mult-adds; fvcore its flops. Nothing is printed. The contestants alternate. Peak memory is that of a process that does
nothing else, above what it held before.

    python benchmarks/summary.py [--rounds 5] [--threads 1] [--json]

Needs ``torchinfo==1.8.0`` and ``fvcore``. Target: not slower than the faster of the two; for vgg19 under 200 MB.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import psutil
import torch
from torch import nn

from _common import arguments, publish, spread
from convscope import models

NETWORKS = ("lenet", "resnet50", "densenet201", "vgg19")


def ours(net: nn.Module, size: tuple[int, ...]) -> None:
    """All that a summary says."""
    from convscope.measure import summary

    summary(net, size[1:])


def without_training(net: nn.Module, size: tuple[int, ...]) -> None:
    """The same without what autograd keeps, which the others do not measure either."""
    from convscope.measure import summary

    summary(net, size[1:], training=False)


def torchinfo(net: nn.Module, size: tuple[int, ...]) -> None:
    """The same with torchinfo, on the device where the network is."""
    from torchinfo import summary

    columns = ("output_size", "num_params", "mult_adds")
    summary(net, size, col_names=columns, depth=10, verbose=0, device="cpu")


def fvcore(net: nn.Module, size: tuple[int, ...]) -> None:
    """The same with fvcore."""
    from fvcore.nn import FlopCountAnalysis

    logging.getLogger("fvcore").setLevel(logging.ERROR)
    FlopCountAnalysis(net.eval(), torch.zeros(size)).by_module()


CONTESTANTS: dict[str, Callable[[nn.Module, tuple[int, ...]], None]] = {
    "ours": ours,
    "ours_without_training": without_training,
    "torchinfo": torchinfo,
    "fvcore": fvcore,
}


def prepared(name: str) -> tuple[nn.Module, tuple[int, ...]]:
    """A network with weights, and the size of its images."""
    info = models.info(name)
    return models.create(name), (1, info.in_channels, info.image_size, info.image_size)


def seconds(contestant: str, net: nn.Module, size: tuple[int, ...]) -> float:
    """Of one summary."""
    began = time.perf_counter()
    CONTESTANTS[contestant](net, size)
    return time.perf_counter() - began


def peak_here(contestant: str, name: str) -> float:
    """Megabytes that this process needed at most above what it held before; for a process of its own."""
    net, size = prepared(name)
    CONTESTANTS[contestant](nn.Sequential(nn.Conv2d(size[1], 1, 3)), size)  # so that imports do not count
    before = psutil.Process().memory_info().rss
    _reset_peak()
    CONTESTANTS[contestant](net, size)
    return float(_peak() - before) / 1e6


def _reset_peak() -> None:
    with open("/proc/self/clear_refs", "w") as file:  # noqa: PTH123 - Linux resets the high-water mark
        file.write("5")


def _peak() -> int:
    with open("/proc/self/status") as file:  # noqa: PTH123
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))


def first_seconds(contestant: str) -> float:
    """Of the first summary in a process, loading included; for a process of its own."""
    net, size = prepared("lenet")
    return seconds(contestant, net, size)


def measure(name: str, rounds: int) -> dict[str, Any]:
    """Time all contestants in turn, then memory in processes of their own."""
    net, size = prepared(name)
    times: dict[str, list[float]] = {contestant: [] for contestant in CONTESTANTS}
    for number in range(rounds + 1):  # the first round warms up
        for contestant in sorted(CONTESTANTS, reverse=bool(number % 2)):
            took = seconds(contestant, net, size)
            if number:
                times[contestant].append(took)
    found: dict[str, Any] = {contestant: {"seconds": spread(values)} for contestant, values in times.items()}
    for contestant in CONTESTANTS:
        command = [sys.executable, __file__, "--peak", contestant, name]
        found[contestant]["peak_megabytes"] = float(subprocess.run(command, capture_output=True, check=True).stdout)
    fastest = min(found[other]["seconds"]["median"] for other in ("torchinfo", "fvcore"))
    for contestant in ("ours", "ours_without_training"):
        found[contestant]["ratio_to_the_faster"] = found[contestant]["seconds"]["median"] / fastest
    return found


def main() -> None:
    """Compare, print, publish."""
    warnings.filterwarnings("ignore")
    if sys.argv[1:2] == ["--peak"]:
        print(peak_here(*sys.argv[2:4]))
        return
    if sys.argv[1:2] == ["--first"]:
        print(first_seconds(sys.argv[2]))
        return
    asked = arguments(__doc__, rounds=5, threads=1)
    torch.set_num_threads(asked.threads)
    result: dict[str, Any] = {}
    for name in NETWORKS:
        result[name] = measure(name, asked.rounds)
        if not asked.json:
            said = ", ".join(
                f"{who} {1e3 * found['seconds']['median']:.1f} ms {found['peak_megabytes']:.0f} MB"
                for who, found in ((who, result[name][who]) for who in CONTESTANTS)
            )
            print(f"{name:12} {said}; ours / faster: {result[name]['ours']['ratio_to_the_faster']:.2f}")
    command = [sys.executable, __file__, "--first"]
    first = {
        contestant: float(subprocess.run([*command, contestant], capture_output=True, check=True).stdout)
        for contestant in CONTESTANTS
    }
    if not asked.json:
        print("the first in a process:", ", ".join(f"{who} {took:.2f} s" for who, took in first.items()))
    target = "ratio <= 1 for every network; vgg19 under 200 MB"
    publish("summary", {"networks": result, "first_seconds": first, "target": target}, as_json=asked.json)


if __name__ == "__main__":
    main()
