"""One epoch with convscope and with what people use otherwise.

Fashion-MNIST, batch 128, plain SGD: training and the evaluation after it, each contestant in a process of its own, one
after another in turns, so that a slow minute of the machine slows all of them. Timed is the call that trains, without
imports. LeNet runs in float32 everywhere (too short a run for the plan to measure anything else); the book's ResNet-18
runs with convscope as the plan does in longer runs (channels last, in bfloat16 where the processor computes it natively
and in float32 elsewhere; the result names the plan), and in float32 with d2l, which has nothing else.

    python benchmarks/epoch.py [--model lenet|resnet18] [--rounds 5] [--threads 2] [--peers-python PATH] [--json]

``resnet18`` is the book's, on 2,560 images at 96 pixels. The peers live in an environment of their own:

    python -m venv peers
    peers/bin/pip install -c constraints.txt torch matplotlib pandas scipy requests ipython lightning
    peers/bin/pip install --no-deps d2l==1.0.3 torchvision==0.28.0
    peers/bin/pip install tensorflow-cpu keras

Needs the Fashion-MNIST files (CONVSCOPE_DATA or the cache).
"""

from __future__ import annotations

import argparse
import gzip
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _common import publish, spread
from convscope.data import get

PEERS = Path(__file__).parent / "peers"
SCRIPTS = {"d2l": "with_book.py"}
TASKS: dict[str, list[str]] = {
    "lenet": ["--model", "lenet"],
    "resnet18": ["--model", "resnet18", "--size", "96", "--images", "2560"],
}
CONTESTANTS = {"lenet": ("convscope", "d2l", "lightning", "keras"), "resnet18": ("convscope", "d2l")}
TARGETS = {
    "lenet": "d2l >= 2.5, keras/tensorflow >= 1.4, lightning >= 2 times our seconds",
    "resnet18": "d2l >= 2.2 times our seconds",
}


def lay_out_files(root: Path) -> Path:
    """Fashion-MNIST as torchvision leaves it; the book's library reads ``../data`` and nothing else."""
    raw = root / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    files = get("fashion-mnist")
    for file in files.glob("*.gz") if files is not None else ():
        (raw / file.name).symlink_to(file.absolute())
        (raw / file.stem).write_bytes(gzip.decompress(file.read_bytes()))
    return root


def run_script(python: str, script: str, words: Sequence[str], folder: Path) -> dict[str, Any]:
    """A script of ``peers/`` in a process of its own; its last line is the result."""
    answer = subprocess.run(
        [python, str(PEERS / script), *words], capture_output=True, text=True, cwd=folder, check=False
    )
    if answer.returncode:
        raise SystemExit(f"{script} failed:\n{answer.stderr[-3000:]}")
    last = answer.stdout.strip().splitlines()[-1]
    result: dict[str, Any] = json.loads(last[last.index("{") :])  # plots leave escape codes before it
    return result


def turn(contestant: str, asked: argparse.Namespace, data: Path) -> dict[str, Any]:
    """One contestant."""
    python = sys.executable if contestant == "convscope" else asked.peers_python
    words = [*TASKS[asked.model], "--data", str(data), "--threads", str(asked.threads)]
    return run_script(python, SCRIPTS.get(contestant, f"with_{contestant}.py"), words, data)


def main() -> None:
    """Take turns, compare within each round."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=tuple(TASKS), default="lenet")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peers-python", default="peers/bin/python", help="interpreter of the peers' environment")
    parser.add_argument("--json", action="store_true", help="print the result as JSON and nothing else")
    asked = parser.parse_args()
    asked.peers_python = str(Path(asked.peers_python).absolute())
    names = CONTESTANTS[asked.model]
    rounds: list[dict[str, dict[str, Any]]] = []
    with tempfile.TemporaryDirectory() as folder:
        root = lay_out_files(Path(folder) / "data")
        for number in range(asked.rounds + 1):  # the first fills caches and is not counted
            order = names if number % 2 else names[::-1]
            taken = {name: turn(name, asked, root) for name in order}
            if number:
                rounds.append(taken)
            if not asked.json:
                print(
                    "  ".join(f"{name} {taken[name]['seconds']:.2f} s" for name in names), "" if number else "(warm-up)"
                )
    ours = [one["convscope"] for one in rounds]
    result: dict[str, Any] = {
        "what": f"{asked.model} on Fashion-MNIST, batch 128: an epoch and its evaluation, {asked.threads} threads",
        "target": TARGETS[asked.model],
        "seconds": {name: spread([one[name]["seconds"] for one in rounds]) for name in names},
        "times_ours": {
            name: spread([one[name]["seconds"] / one["convscope"]["seconds"] for one in rounds]) for name in names[1:]
        },
        "versions": {name: rounds[0][name]["version"] for name in names},
        "plan": ours[0]["plan"],
        "images_per_second": spread([one["epoch"]["images_per_second"] for one in ours]),
        "matrix_peak_macs_per_second": spread([one["peak_macs_per_second"] for one in ours]),
        "share_of_matrix_peak": spread([one["peak_share"] for one in ours]),
    }
    if not asked.json:
        for name, ratio in result["times_ours"].items():
            print(f"{name} takes {ratio['median']:.2f} times our seconds ({ratio['min']:.2f} to {ratio['max']:.2f})")
    publish(f"epoch_{asked.model}", result, as_json=asked.json)


if __name__ == "__main__":
    main()
