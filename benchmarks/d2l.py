"""The book's programs on our engine and on the book's own library, unchanged.

Each turn is a process that runs the same program (``peers/with_book.py``): ``from d2l import torch as d2l``, the book's
classes, ``Trainer.fit`` with its plots. Timed is the call of ``fit``. With the book's library the plots go to a backend
that shows nothing, which spares it the drawing that Jupyter would ask for; ours leaves its picture file.

    python benchmarks/d2l.py [--task lenet|resnet18|import] [--rounds 3] [--threads 2] [--peers-python PATH] [--json]

``lenet``     the book's cell: 10 epochs, batches of 128, float32 in both
``resnet18``  the book's at 96 pixels, one epoch of 2,560 images, as ``convscope notebook --limit`` shortens it: in
              float32, and with ``precision="auto"``: bfloat16 where the processor computes it natively
``import``    ``from d2l import torch as d2l``, PyTorch included

The peers' environment is that of ``epoch.py``. Needs the Fashion-MNIST files (CONVSCOPE_DATA or the cache).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from _common import publish, spread
from epoch import lay_out_files, run_script

TASKS = {
    "lenet": ["--model", "lenet", "--epochs", "10"],
    "resnet18": ["--model", "resnet18", "--size", "96", "--images", "2560"],
}
PRECISIONS = {"lenet": ("float32",), "resnet18": ("float32", "auto")}
TARGETS = {
    "lenet": "d2l >= 2.5 times our seconds",
    "resnet18": "d2l >= 1.4 times our seconds in float32, >= 2.2 with precision=auto",
    "import": "d2l >= 2 times our seconds",
}
IMPORTS = {
    "d2l": "import torchvision_on_cpu; torchvision_on_cpu.import_networks(); from d2l import torch as d2l",
    "ours": "import convscope.d2l.activate; from d2l import torch as d2l",
}


def import_seconds(contestant: str, python: str) -> float:
    """Of a fresh process, without the start of Python itself."""
    parity = Path(__file__).parents[1] / "tests" / "parity"
    code = f"import sys, time; sys.path.insert(0, {str(parity)!r}); t = time.perf_counter(); {IMPORTS[contestant]}"
    answer = subprocess.run(
        [python, "-c", f"{code}; print(time.perf_counter() - t)"], capture_output=True, text=True, check=True
    )
    return float(answer.stdout.strip().splitlines()[-1])


def fit_seconds(contestant: str, python: str, asked: argparse.Namespace, data: Path) -> float:
    """Of one training."""
    words = [*TASKS[asked.task], "--data", str(data), "--threads", str(asked.threads)]
    if contestant != "d2l":
        words += ["--ours", contestant.removeprefix("ours ")]
    return float(run_script(python, "with_book.py", words, data)["seconds"])


def main() -> None:
    """Take turns, compare within each round."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=tuple(TARGETS), default="lenet")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peers-python", default="peers/bin/python", help="interpreter of the peers' environment")
    parser.add_argument("--json", action="store_true", help="print the result as JSON and nothing else")
    asked = parser.parse_args()
    peers_python = str(Path(asked.peers_python).absolute())
    mine = ["ours"] if asked.task == "import" else [f"ours {precision}" for precision in PRECISIONS[asked.task]]
    rounds: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        data = lay_out_files(Path(folder) / "data")
        for number in range(asked.rounds):
            names = ["d2l", *mine]
            taken = {}
            for name in names if number % 2 else names[::-1]:
                python = peers_python if name == "d2l" else sys.executable
                taken[name] = (
                    import_seconds(name, python) if asked.task == "import" else fit_seconds(name, python, asked, data)
                )
            rounds.append(taken)
            if not asked.json:
                print("  ".join(f"{name} {seconds:.2f} s" for name, seconds in taken.items()))
    result = {
        "what": f"{asked.task}: a program of the book's on d2l 1.0.3 and on convscope.d2l, {asked.threads} threads",
        "target": TARGETS[asked.task],
        "seconds": {name: spread([one[name] for one in rounds]) for name in ("d2l", *mine)},
        "d2l_over_ours": {name: spread([one["d2l"] / one[name] for one in rounds]) for name in mine},
    }
    if not asked.json:
        for name, ratio in result["d2l_over_ours"].items():  # type: ignore[attr-defined]
            print(f"d2l takes {ratio['median']:.2f} times the seconds of {name}")
    publish(f"d2l_{asked.task}", result, as_json=asked.json)


if __name__ == "__main__":
    main()
