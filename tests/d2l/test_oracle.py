"""Against the book's own library: numbers that it gave, and the library itself where it is installed.

Another Python with the library may be named by ``CONVSCOPE_D2L``.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
GOLDEN = json.loads((HERE / "golden.json").read_text())
REAL_DATA = bool(os.environ.get("CONVSCOPE_DATA"))
OTHER = os.environ.get("CONVSCOPE_D2L", sys.executable)


SAME_STEPS = 12  # a processor that adds up in another order is 1e-5 apart after so many; then ReLUs flip, and it grows


def check(ours: dict, theirs: dict, *, elsewhere: bool = False) -> None:
    """What one program gave, with either library; ``elsewhere`` is on another processor, perhaps."""
    close = {"rel": 1e-5, "abs": 1e-5}
    assert ours["losses"][:SAME_STEPS] == pytest.approx(theirs["losses"][:SAME_STEPS], **close)
    if elsewhere:
        close = {"rel": 0.05, "abs": 0.05}
    assert ours["losses"] == pytest.approx(theirs["losses"], **close)
    for name, line in theirs["data"].items():
        mine = ours["data"]["val_acc_batch_mean" if name == "val_acc" else name]
        assert [x for x, _ in mine] == [x for x, _ in line], name
        assert [y for _, y in mine] == pytest.approx([y for _, y in line], **close), name
    assert {name: ours["waiting"][name] for name in theirs["waiting"]} == theirs["waiting"]
    assert ours["weights"] == pytest.approx(theirs["weights"], **close)
    assert (ours["position"], ours["training"]) == (theirs["position"], theirs["training"])
    assert ours["drawn after it"] == theirs["drawn after it"]  # as many random numbers were drawn, and the same ones


@pytest.mark.parametrize("name", GOLDEN["toy"])
def test_the_numbers_of_the_book(d2l, programs, name):
    kind, init, more = programs.models(d2l)[name]
    check(programs.run(d2l, kind, init=init, **more), GOLDEN["toy"][name], elsewhere=True)


@pytest.mark.fashion_mnist
@pytest.mark.skipif(not REAL_DATA, reason="CONVSCOPE_DATA names no folder with the real Fashion-MNIST")
def test_the_first_twenty_losses_of_lenet_and_the_pixels(d2l, programs):
    ours = programs.fashion(d2l)
    assert ours.pop("losses") == pytest.approx(GOLDEN["fashion"]["losses"], rel=0, abs=1e-5)
    assert ours == {name: value for name, value in GOLDEN["fashion"].items() if name != "losses"}


@pytest.fixture(scope="module")
def theirs(tmp_path_factory) -> dict:
    """The same programs with the book's own library, in a process of its own."""
    folder = tmp_path_factory.mktemp("theirs")
    code = "import d2l, os; assert os.path.exists(os.path.join(os.path.dirname(d2l.__file__), 'torch.py'))"
    there = [OTHER, "-c", code]
    if subprocess.run(there, capture_output=True, cwd=folder, check=False).returncode:
        pytest.skip("the book's own d2l is not installed; CONVSCOPE_D2L may name a Python that has it")
    words = [OTHER, "-W", "ignore", str(HERE / "programs.py"), "theirs.json"]
    subprocess.run(words, cwd=folder, check=True, capture_output=True, timeout=600)
    return json.loads((folder / "theirs.json").read_text())["toy"]


@pytest.mark.parametrize("name", GOLDEN["toy"])
def test_beside_the_book_itself(d2l, programs, theirs, name):
    kind, init, more = programs.models(d2l)[name]
    check(programs.run(d2l, kind, init=init, **more), theirs[name])
