"""What a second process brings, measured; what more machines would bring, modelled.

Measured: images per second of training in one process with one thread, in two processes with one thread each (gradients
exchanged by gloo over the loopback interface), and in one process with two threads, in turns. The two processes share
memory bandwidth and caches, so this says what a second *core* brings, and not what a second machine would.

Modelled: for every registered network the time of one exchange of its gradients by a ring,
2 (p - 1) / p * bytes / bandwidth + 2 (p - 1) * latency, at the bandwidths and latencies named in ``LINKS``.
``docs/scale.md`` explains both and says what they leave out.

    python benchmarks/scaling.py [--rounds 5] [--images 12800] [--json]

Needs the Fashion-MNIST files (CONVSCOPE_DATA or the cache).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _common import publish, spread
from convscope import models

WORKER = Path(__file__).parent / "workers" / "one_share.py"
CASES = {"1 process, 1 thread": (1, 1), "2 processes, 1 thread each": (2, 1), "1 process, 2 threads": (1, 2)}


@dataclass(frozen=True)
class Link:
    """What connects the processes of a modelled machine.

    Args:
        name: For the table.
        processes: How many take part in a ring.
        bytes_per_second: Of the slowest connection in it, one way.
        latency: Seconds for one message.
    """

    name: str
    processes: int
    bytes_per_second: float
    latency: float


LINKS = (
    Link("8 GPUs, NVLink 4 (450 GB/s one way)", 8, 450e9, 5e-6),
    Link("64 nodes of 1 GPU, 100 Gbit/s Ethernet", 64, 12.5e9, 20e-6),
    Link("64 nodes of 1 GPU, 400 Gbit/s InfiniBand", 64, 50e9, 5e-6),
)


def ring_seconds(gradient_bytes: float, link: Link) -> float:
    """Time of one ring all-reduce."""
    p = link.processes
    return 2 * (p - 1) / p * gradient_bytes / link.bytes_per_second + 2 * (p - 1) * link.latency


def modelled() -> list[dict[str, Any]]:
    """Gradient bytes and exchange times of every registered network, in float32."""
    rows = []
    for name in models.names():
        parameters = sum(p.numel() for p in models.create(name, device="meta").parameters())
        times = {link.name: ring_seconds(4 * parameters, link) for link in LINKS}
        rows.append({"model": name, "gradient_bytes": 4 * parameters, "exchange_seconds": times})
    return rows


def turn(processes: int, threads: int, model: str, images: int) -> float:
    """Images per second of one run."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    with tempfile.TemporaryDirectory() as folder:
        words = [str(WORKER), "--model", model, "--images", str(images), "--out", f"{folder}/run"]
        answer = subprocess.run(
            [*launch, *words, "--threads", str(threads), "--processes", str(processes)],
            capture_output=True,
            text=True,
            env=environment,
            check=False,
        )
    if answer.returncode:
        raise SystemExit(answer.stderr[-3000:])
    return float(json.loads(answer.stdout.strip().splitlines()[-1])["images_per_second"])


def main() -> None:
    """Take turns, compare within each round."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["lenet", "resnet20_cifar"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=12_800)
    parser.add_argument("--json", action="store_true", help="print the result as JSON and nothing else")
    asked = parser.parse_args()
    measured: dict[str, Any] = {}
    for model in asked.models:
        images = asked.images if model == "lenet" else asked.images // 5
        rounds = [{case: turn(*how, model, images) for case, how in CASES.items()} for _ in range(asked.rounds + 1)][1:]
        alone, both, threaded = CASES
        measured[model] = {
            "images_per_second": {case: spread([one[case] for one in rounds]) for case in CASES},
            "efficiency_of_two_processes": spread([one[both] / one[alone] / 2 for one in rounds]),
            "two_processes_over_two_threads": spread([one[both] / one[threaded] for one in rounds]),
        }
        if not asked.json:
            print(
                f"{model}: efficiency of two processes {measured[model]['efficiency_of_two_processes']['median']:.2f}"
            )
    result = {
        "what": "training with 128 images a step in all: one process of 128, or two of 64; float32, Fashion-MNIST",
        "measured": measured,
        "formula": "2 (p - 1) / p * bytes / bandwidth + 2 (p - 1) * latency",
        "links": [vars(link) for link in LINKS],
        "modelled": modelled(),
    }
    publish("scaling", result, as_json=asked.json)


if __name__ == "__main__":
    main()
