"""Memory that a step frees is there for the next one, and the system's again after the training."""

import subprocess
import sys

import pytest

PROGRAM = """if True:
    import resource
    from pathlib import Path
    import torch
    from convscope.train.allocator import memory_kept

    def faults():
        '''Pages that two tensors of 80 MB had to be given.'''
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        a = torch.ones(20_000_000)
        b = a + 1
        del a, b
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

    usual = min(faults() for _ in range(5))
    with memory_kept():
        kept, much = min(faults() for _ in range(5)), resident()
    print(usual, kept, much - resident())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's own")
def test_pages_are_cleared_once_inside_and_given_back_after_it():
    answer = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    usual, kept, given_back = map(int, answer.stdout.split())
    assert usual > 50  # pages of 2 MiB where the system joins them
    assert kept < usual / 10
    assert given_back > 100e6
