"""What every test shares."""

import os
import signal
from collections.abc import Iterator

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # before torch: threads that wait for each other give the core away

import pytest
import torch
from hypothesis import HealthCheck, settings

# The same two hundred cases of a property in every run; a busy machine is not a failure.
settings.register_profile(
    "checks", max_examples=200, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("checks")

# A shell lets what it starts in the background ignore Ctrl-C, and a training rightly leaves that as it is.
for number, usual in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGTERM, signal.SIG_DFL),
    (getattr(signal, "SIGHUP", None), signal.SIG_DFL),
):
    if number is not None and signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, usual)

# Tensors in tests are tiny: two threads that wait for each other are slower than one.
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _the_process_as_it_was() -> Iterator[None]:
    """A training sets up its process: threads, and denormals that count as zero. The next test starts afresh."""
    yield
    torch.set_num_threads(1)
    torch.set_flush_denormal(False)
    if torch.are_deterministic_algorithms_enabled():
        torch.use_deterministic_algorithms(False)
