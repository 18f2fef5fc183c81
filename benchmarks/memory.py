"""How much memory a training takes beyond the arithmetic.

Peak resident memory of a process that trains LeNet for one epoch of Fashion-MNIST, batch 128: ``Trainer.fit`` against a
loop written by hand over float tensors that are already normalised, each in a process of its own, in turns.

    python benchmarks/memory.py [--rounds 5] [--threads 2] [--json]

Needs the Fashion-MNIST files (CONVSCOPE_DATA or the cache). Target: at most 1.2 times.
"""

from __future__ import annotations

import subprocess
import sys

from _common import arguments, publish, spread

SETUP = """
import sys, tempfile, torch
from torch.nn import functional as F
from convscope import data, models
from convscope.train import OptimizerConfig, TrainConfig, Trainer
from convscope.train.plan import peak_memory
torch.set_num_threads(int(sys.argv[1]))
dataset = data.load("fashion-mnist")
model = models.create("lenet")
"""
PROGRAMS = {
    "imports alone": SETUP,
    "by_hand": SETUP
    + """
images = dataset.train.images.float().div_(255)
images = images.sub_(images.mean()).div_(images.std())
labels = dataset.train.labels
optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
for rows in torch.randperm(len(labels)).split(128):
    loss = F.cross_entropy(model(images[rows]), labels[rows])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
held = dataset.test.images.float().div_(255)
with torch.no_grad():
    correct = sum(int((model(x).argmax(1) == y).sum()) for x, y in zip(held.split(500), dataset.test.labels.split(500)))
""",
    "ours": SETUP
    + """
with tempfile.TemporaryDirectory() as folder:
    Trainer(TrainConfig(epochs=1, batch_size=128)).fit(model, dataset, out=folder + "/run")
""",
}


def peak(program: str, threads: int) -> int:
    """Bytes."""
    code = f"{PROGRAMS[program]}\nprint(peak_memory())"
    answer = subprocess.run([sys.executable, "-c", code, str(threads)], capture_output=True, text=True, check=True)
    return int(answer.stdout)


def main() -> None:
    """Take turns."""
    asked = arguments(__doc__, rounds=5, threads=2)
    rounds = [{name: peak(name, asked.threads) for name in PROGRAMS} for _ in range(asked.rounds)]
    result = {
        "what": "peak resident bytes of a process that trains LeNet on Fashion-MNIST for one epoch, batch 128",
        "bytes": {name: spread([one[name] for one in rounds]) for name in PROGRAMS},
        "ratio": spread([one["ours"] / one["by_hand"] for one in rounds]),
        "target": "ratio <= 1.2",
    }
    if not asked.json:
        print(f"ratio {result['ratio']['median']:.2f}")  # type: ignore[index]
    publish("memory", result, as_json=asked.json)


if __name__ == "__main__":
    main()
