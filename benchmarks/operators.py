"""How fast are our operators beside others' for the same convolution? Ratios of medians, measured turn by turn.

    python benchmarks/operators.py [--rounds 50] [--threads 1] [--json]

Each contender computes the same cross-correlation of float32 numbers, is checked against the first one's answer, and
then takes turns with the others in one process, so that a slow moment of the machine hits all alike. ``reference``
is timed on small inputs only: its loops are for reading. SciPy and OpenCV have no notion of channels, so there they
are called once for each pair of channels and the answers added, as their users must.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from typing import Any

import numpy as np
import scipy.signal
import torch
from torch.nn import functional as F

from _common import arguments, publish
from convscope.ops import fast, reference

PEER = "torch.nn.functional.conv2d"
OURS = "convscope.ops.fast"
SLOWEST = 1.0  # seconds: a contender whose call takes longer is left out of a size, and listed as such
SLICE = 2e-3  # seconds: how long a contender runs before the next one's turn


@dataclass(frozen=True)
class Size:
    """A convolution: (N, C, H, W) with O kernels of k x k, padded so that the size stays, unless k is even."""

    name: str
    N: int
    C: int
    H: int
    W: int
    O: int  # noqa: E741
    k: int

    @property
    def padding(self) -> int:
        return (self.k - 1) // 2

    @property
    def multiplications(self) -> int:
        out = (self.H + 2 * self.padding - self.k + 1) * (self.W + 2 * self.padding - self.k + 1)
        return self.N * self.O * out * self.C * self.k**2


SIZES = (
    Size("1x1x3x3, one 2x2 (the notebooks' first)", 1, 1, 3, 3, 1, 2),
    Size("1x1x28x28, six 5x5 (LeNet's first)", 1, 1, 28, 28, 6, 5),
    Size("1x1x512x512, one 3x3 (a photograph)", 1, 1, 512, 512, 1, 3),
    Size("1x64x56x56, 64 3x3 (a residual block)", 1, 64, 56, 56, 64, 3),
    Size("64x64x56x56, 64 3x3 (its batch)", 64, 64, 56, 56, 64, 3),
)


def by_planes(size: Size, X: np.ndarray, K: np.ndarray, plane: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Any:
    """(N, C, H, W) out of a function of one image and one kernel."""
    return np.stack(
        [np.stack([sum(plane(X[n, c], K[o, c]) for c in range(size.C)) for o in range(size.O)]) for n in range(size.N)]
    )


def contenders(size: Size, threads: int) -> dict[str, Callable[[], Any]]:
    """Functions without arguments that all compute the same."""
    random = torch.Generator().manual_seed(0)
    X = torch.randn(size.N, size.C, size.H, size.W, generator=random)
    K = torch.randn(size.O, size.C, size.k, size.k, generator=random)
    p, numpy_X, numpy_K = size.padding, X.numpy(), K.numpy()
    framed = np.pad(numpy_X, ((0, 0), (0, 0), (p, p), (p, p)))

    def scipy_direct(image: np.ndarray, kernel: np.ndarray) -> Any:
        return scipy.signal.correlate2d(image, kernel, mode="valid")

    def scipy_chosen(image: np.ndarray, kernel: np.ndarray) -> Any:
        return scipy.signal.correlate(image, kernel, mode="valid", method="auto")

    entries: dict[str, Callable[[], Any]] = {
        PEER: lambda: F.conv2d(X, K, padding=p),
        OURS: lambda: fast.cross_correlate(X, K, padding=p),
        "scipy.signal.correlate2d": lambda: by_planes(size, framed, numpy_K, scipy_direct),
        "scipy.signal.correlate": lambda: by_planes(size, framed, numpy_K, scipy_chosen),
    }
    if find_spec("cv2"):
        import cv2

        cv2.setNumThreads(threads)
        anchor = ((size.k - 1) // 2, (size.k - 1) // 2)
        kept = size.H + 2 * p - size.k + 1, size.W + 2 * p - size.k + 1  # an even kernel has fewer places

        def opencv(image: np.ndarray, kernel: np.ndarray) -> Any:
            whole = cv2.filter2D(image, cv2.CV_32F, kernel, anchor=anchor, borderType=cv2.BORDER_CONSTANT)
            return whole[: kept[0], : kept[1]]

        entries["cv2.filter2D"] = lambda: by_planes(size, numpy_X, numpy_K, opencv)
    if size.multiplications < 200_000:
        entries["convscope.ops.reference"] = lambda: reference.cross_correlate(X, K, padding=p)
    return entries


@dataclass(frozen=True)
class Timing:
    """Seconds for one call, over ``n`` rounds; ``ratio`` is to PyTorch's median, above 1 is slower."""

    contender: str
    n: int
    median: float
    quartiles: tuple[float, float]
    ratio: float
    ratio_quartiles: tuple[float, float]  # of the ratios within each round


def seconds(call: Callable[[], Any], repeats: int) -> float:
    """The mean of a few calls in a row, so that the clock is not what is measured."""
    started = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - started) / repeats


def race(size: Size, *, rounds: int, threads: int) -> tuple[list[Timing], list[str]]:
    """Time all contenders in turns; also says which were too slow to wait for."""
    entries = contenders(size, threads)
    expected = np.asarray(entries[PEER]())
    too_slow = []
    repeats = {}
    for name, alone in contenders(replace(size, N=1), threads).items():
        once = seconds(alone, 1) * size.N  # a batch costs them as many calls as it has images
        if once > SLOWEST and name not in (PEER, OURS):
            too_slow.append(name)
            del entries[name]
        elif name in entries:
            np.testing.assert_allclose(
                np.asarray(entries[name]()), expected, rtol=1e-4, atol=1e-5 * size.C * size.k**2, err_msg=name
            )
            repeats[name] = max(1, min(2000, int(SLICE / seconds(entries[name], 1))))
    samples: dict[str, list[float]] = {name: [] for name in entries}
    order = list(entries)
    for turn in range(rounds):
        for name in order[turn % len(order) :] + order[: turn % len(order)]:  # nobody always follows the same one
            samples[name].append(seconds(entries[name], repeats[name]))
    base = samples[PEER]
    return [summary(name, values, base) for name, values in samples.items()], too_slow


def summary(name: str, values: list[float], base: list[float]) -> Timing:
    """Medians and quartiles of one contender."""
    low, median, high = statistics.quantiles(values, n=4)
    ratios = [value / other for value, other in zip(values, base, strict=True)]
    ratio_low, ratio, ratio_high = statistics.quantiles(ratios, n=4)
    return Timing(name, len(values), median, (low, high), ratio, (ratio_low, ratio_high))


def winner(timings: list[Timing]) -> str:
    """Who has the least median. Between PyTorch and ours there is no race: ours calls it."""
    name = min(timings, key=lambda timing: timing.median).contender
    return f"{PEER}, which {OURS} calls" if name in (PEER, OURS) else name


def table(results: list[dict[str, Any]]) -> str:
    """Ratios for people: below 1.00 the contender is faster than PyTorch."""
    lines = []
    for result in results:
        lines.append(f"{result['size']}")
        for timing in result["timings"]:
            low, high = timing["ratio_quartiles"]
            lines.append(
                f"  {timing['contender']:28} {1e6 * timing['median']:12,.1f} us"
                f" {timing['ratio']:9.2f} x  [{low:.2f} .. {high:.2f}]"
            )
        lines.append(f"  fastest: {result['fastest']}")
        if result["left_out"]:
            lines.append(f"  left out, more than {SLOWEST:.0f} s a call: {', '.join(result['left_out'])}")
    return "\n".join(lines)


def main() -> None:
    """Race at every size."""
    asked = arguments(__doc__, rounds=50, threads=1)
    if asked.rounds < 2:
        raise SystemExit("--rounds must be at least 2, so that there is a spread")
    torch.set_num_threads(asked.threads)
    if not find_spec("cv2"):
        print("OpenCV is not installed and is left out: pip install opencv-python-headless", file=sys.stderr)
    results = []
    for size in SIZES:
        print(f"measuring {size.name} ...", file=sys.stderr)
        with torch.inference_mode():
            timings, left_out = race(size, rounds=asked.rounds, threads=asked.threads)
        results.append(
            {
                "size": size.name,
                "multiplications": size.multiplications,
                "fastest": winner(timings),
                "left_out": left_out,
                "timings": [asdict(timing) for timing in timings],
            }
        )
    if not asked.json:
        print(table(results))
    report = {"unit": "seconds", "rounds": asked.rounds, "results": results}
    publish("operators", report, as_json=asked.json, packages=("numpy", "scipy", "opencv-python-headless"))


if __name__ == "__main__":
    main()
