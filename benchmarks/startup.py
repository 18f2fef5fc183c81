"""What a newcomer waits for: ``convscope --help``, and the first training.

    python benchmarks/startup.py [--rounds 5] [--json]

Whole processes are timed from start to exit. Targets: help under 0.4 s without importing torch; ten epochs of LeNet on
the embedded digits, with the report, under 15 s on two cores.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _common import arguments, publish, spread

PROGRAM = [sys.executable, "-m", "convscope"]
IMPORTS_TORCH = "import sys; from convscope.cli import main; main(['--help']); sys.exit('torch' in sys.modules)"


def timed(command: list[str]) -> tuple[float, int]:
    """Wall seconds and peak resident bytes of one process, as the operating system counted them."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command} failed with {process.returncode}")
    return seconds, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main() -> None:
    """Time both, several times."""
    asked = arguments(__doc__, rounds=5)
    imports_torch = bool(subprocess.run([sys.executable, "-c", IMPORTS_TORCH], stdout=subprocess.DEVNULL).returncode)
    timed([*PROGRAM, "--help"])
    helps = [timed([*PROGRAM, "--help"])[0] for _ in range(asked.rounds)]
    trainings = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(asked.rounds):
            out = str(Path(folder) / str(number))
            trainings.append(timed([*PROGRAM, "train", "--data", "digits", "--epochs", "10", "--out", out]))
    result = {
        "help_seconds": spread(helps),
        "help_imports_torch": imports_torch,
        "train_digits_seconds": spread([seconds for seconds, _ in trainings]),
        "train_digits_peak_bytes": spread([float(peak) for _, peak in trainings]),
        "target": "help < 0.4 s without torch; training < 15 s",
    }
    if not asked.json:
        print(f"convscope --help: {spread(helps)['median']:.2f} s, imports torch: {imports_torch}")
        seconds, peak = (spread([float(pair[i]) for pair in trainings])["median"] for i in (0, 1))
        print(f"convscope train (digits, LeNet, 10 epochs, report): {seconds:.1f} s, peak {peak / 2**20:.0f} MiB")
    publish("startup", result, as_json=asked.json)


if __name__ == "__main__":
    main()
