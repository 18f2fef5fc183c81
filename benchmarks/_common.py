"""What every benchmark shares: the machine it ran on, spread, a result file."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
PROVIDES = {"opencv-python-headless": "cv2"}  # packages whose module has another name


def arguments(description: str | None, **numbers: int) -> argparse.Namespace:
    """``--json`` and the given whole numbers as flags."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print the result as JSON and nothing else")
    for name, default in numbers.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=default, help=f"default {default}")
    return parser.parse_args()


def machine(*packages: str) -> dict[str, Any]:
    """Hardware and versions, also of further packages; a number without them says little."""
    import torch

    from convscope import __version__
    from convscope.train.probe import cpu_name, native_precisions, peak_macs

    threads, cpu = torch.get_num_threads(), torch.device("cpu")
    peaks = {precision: 2e-9 * peak_macs("cpu", precision, threads) for precision in native_precisions(cpu)}
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "threads": threads,
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "matrix_gflops": {precision: round(peak) for precision, peak in peaks.items()},  # with these threads, just now
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "convscope": __version__,
        **{package: metadata.version(package) for package in packages if find_spec(PROVIDES.get(package, package))},
    }


def spread(values: Sequence[float]) -> dict[str, float]:
    """Number of runs, median, and the whole range."""
    return {
        "n": len(values),
        "median": statistics.median(values),
        "min": min(values),
        "max": max(values),
    }


def publish(name: str, result: dict[str, Any], *, as_json: bool, packages: Sequence[str] = ()) -> None:
    """Write ``results/NAME.json`` with the machine, the versions and the command, and print it when asked."""
    script = Path(sys.argv[0]).name
    command = " ".join(["python", f"benchmarks/{script}", *(word for word in sys.argv[1:] if word != "--json")])
    document = {"command": command, "machine": machine(*packages), **result}
    text = json.dumps(document, indent=2)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    print(text if as_json else f"written: benchmarks/results/{name}.json")
