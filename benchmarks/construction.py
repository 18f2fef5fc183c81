"""What it costs to make each network: seconds and memory, beside torchvision where it has the same one.

    python benchmarks/construction.py [--rounds 5] [--json]

Every network is made in a process of its own, at its published size, on the CPU: once for the peak of memory, then
again for the median time. Peak and weights are in bytes beyond what importing PyTorch takes. The two sides take turns.
torchvision is compared when it is installed. Targets: LeNet under 5 ms; vgg19 no slower than torchvision's.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from _common import arguments, publish, spread

ORACLE = Path(__file__).parent.parent / "tests"  # parity.torchvision_on_cpu: torchvision beside a PyTorch for CPUs

LIST = """
import json, sys
sys.path.append(sys.argv[1])
from convscope import models
from parity import torchvision_on_cpu as peer
theirs = peer.import_networks().list_models(module=peer.import_networks()) if peer.is_installed() else []
print(json.dumps([models.names(), sorted(set(models.names()) & set(theirs))]))
"""

MAKE = """
import json, resource, sys, time
oracle, side, name, rounds = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
sys.path.append(oracle)
import torch
if side == "ours":
    from convscope import models
    make = lambda: models.create(name)
else:
    from parity import torchvision_on_cpu as peer
    networks, extra = peer.import_networks(), {}
    if name == "googlenet":
        extra = {"aux_logits": False, "init_weights": True}
    make = lambda: networks.get_model(name, **extra)
torch.nn.Linear(8, 8)
unit = 1 if sys.platform == "darwin" else 1024
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
seconds = []
for number in range(rounds + 1):
    began = time.perf_counter()
    net = make()
    seconds.append(time.perf_counter() - began)
    if number == 0:
        peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit
        weights = sum(t.numel() * t.element_size() for t in net.state_dict().values())
    del net
print(json.dumps({"first": seconds[0], "seconds": seconds[1:], "peak": peak, "weights": weights}))
"""


def child(code: str, *words: str) -> Any:
    """What a fresh process prints, as JSON. This one stays small: a child's peak begins at its parent's."""
    command = [sys.executable, "-W", "ignore", "-c", code, str(ORACLE), *words]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout)


def measure(side: str, name: str, rounds: int) -> dict[str, Any]:
    """One network of one side."""
    raw = child(MAKE, side, name, str(rounds))
    return {
        "first_seconds": raw["first"],
        "seconds": spread(raw["seconds"]),
        "peak_bytes": raw["peak"],
        "weights_bytes": raw["weights"],
    }


def line(name: str, row: dict[str, Any]) -> str:
    """One line of the table."""
    ours, peak, weights = row["ours"]["seconds"]["median"], row["ours"]["peak_bytes"], row["ours"]["weights_bytes"]
    text = f"{name:18} {ours * 1e3:9.1f} ms {peak / 2**20:9.1f} MiB {weights / 2**20:9.1f} MiB"
    if "ratio" in row:
        theirs = row["torchvision"]
        text += (
            f" {theirs['seconds']['median'] * 1e3:9.1f} ms {theirs['peak_bytes'] / 2**20:9.1f} MiB {row['ratio']:6.2f}"
        )
    return text


def main() -> None:
    """Make them all."""
    asked = arguments(__doc__, rounds=5)
    names, shared = child(LIST)
    if not asked.json:
        print(f"{'':18} {'ours':>12} {'peak':>13} {'weights':>13} {'torchvision':>12} {'peak':>13} {'ratio':>6}")
    rows = {}
    for name in names:
        row: dict[str, Any] = {"ours": measure("ours", name, asked.rounds)}
        if name in shared:
            row["torchvision"] = measure("torchvision", name, asked.rounds)
            row["ratio"] = row["ours"]["seconds"]["median"] / row["torchvision"]["seconds"]["median"]
        rows[name] = row
        if not asked.json:
            print(line(name, row), flush=True)
    result = {
        "what": "one network at its published size, float32, on the CPU; ratio is ours over torchvision's",
        "networks": rows,
        "torchvision_compared": bool(shared),
        "target": "lenet < 0.005 s; vgg19 ratio <= 1",
    }
    publish("construction", result, as_json=asked.json)


if __name__ == "__main__":
    main()
