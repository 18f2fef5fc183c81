"""The two example notebooks: they run as they stand, and show what the notebooks they come from should have shown."""

import os
from pathlib import Path
from typing import Any

import nbformat
import pytest

from convscope.cli import main
from convscope.notebook import run

FOLDER = Path(__file__).parents[2] / "examples" / "notebooks"
QUESTIONS, HOMEWORK = "000_a_walk_with_questions", "001_a_homework_step_by_step"
IMAGES = 16  # of each split: enough for a batch

CORR2D = "tensor([[19., 25.], [37., 43.]])"
BAND = f"tensor([{', '.join(['[1., 1., 0., 0., 0., 0., 1., 1.]'] * 6)}])"
EDGES = f"tensor([{', '.join(['[ 0., 1., 0., 0., 0., -1., 0.]'] * 6)}])"
NOTHING = f"tensor([{', '.join(['[0., 0., 0., 0., 0.]'] * 8)}])"
CHANNELS = "tensor([[ 56., 72.], [104., 120.]])"
STACKED = "tensor([[[ 56., 72.], [104., 120.]], [[ 76., 100.], [148., 172.]], [[ 96., 128.], [192., 224.]]])"
COUNTS = (
    "dense to hidden units 1,000,000,000 1,000,000,000 dense to an image 1,000,000,000,000 1,000,000,000,000 "
    "weights shared 3,996,001 4,000,000 shared and local 361 324"
)
POOLED = "[[ 5., 7.], [13., 15.]]"


def losses(*values: str) -> str:
    return " ".join(f"epoch {2 * i}, loss {value}" for i, value in enumerate(values, start=1))


def shapes(*rows: tuple[str, str]) -> str:
    """The table of a network: (layer, shape) each."""
    return " ".join(f"{layer} output shape: torch.Size([1, {shape}])" for layer, shape in rows)


LENET = shapes(
    *(("Conv2d", "6, 28, 28"), ("Sigmoid", "6, 28, 28"), ("AvgPool2d", "6, 14, 14")),
    *(("Conv2d", "16, 10, 10"), ("Sigmoid", "16, 10, 10"), ("AvgPool2d", "16, 5, 5")),
    *(("Flatten", "400"), ("Linear", "120"), ("Sigmoid", "120"), ("Linear", "84"), ("Sigmoid", "84"), ("Linear", "10")),
)
VGG11 = shapes(
    *(("Sequential", "64, 112, 112"), ("Sequential", "128, 56, 56"), ("Sequential", "256, 28, 28")),
    *(("Sequential", "512, 14, 14"), ("Sequential", "512, 7, 7"), ("Flatten", "25088")),
    *(("Linear", "4096"), ("ReLU", "4096"), ("Dropout", "4096")) * 2,
    ("Linear", "10"),
)
RESNET18 = shapes(
    *(("Sequential", size) for size in ("64, 24, 24", "64, 24, 24", "128, 12, 12", "256, 6, 6", "512, 3, 3", "10"))
)
EXPECTED = {
    QUESTIONS: [
        *(COUNTS, CORR2D, "True", "True"),
        *("tensor([[-1., -1.], [-1., -1.], [-1., -1.]])", "tensor([[-3., -3.], [-3., -3.], [-3., -3.]])"),
        *(BAND, EDGES, NOTHING, losses("1.471", "0.348", "0.100", "0.034", "0.013"), "tensor([[ 0.9835, -1.0058]])"),
        *("tensor([[ 5., 11.], [23., 29.]])", "3", "(8, 8) (8, 8) (4, 4) (2, 2)", "(2, 2)"),
        "1 layers: 0.444 padded, 0.111111 not padded 2 layers: 0.309 padded, 0.012346 not padded "
        "6 layers: 0.134 padded, 0.000002 not padded",
        *(CHANNELS, f"torch.Size([3, 2, 2, 2]) {STACKED}", "True", "(True, False)"),
        *("tensor([[4., 5.], [7., 8.]])", "tensor([[2., 3.], [5., 6.]])"),
        *("tensor([[0., 1., 0., 1.]]) tensor([[1., 1., 1., 1.]])", "tensor([[[[10.]]]])", f"tensor([[{POOLED}]])"),
        f"tensor([[{POOLED}, [[ 6., 8.], [14., 16.]]]])",
        *(f"{LENET} 61706", VGG11, "128,806,154 parameters, 92.8% of them in the dense layers"),
        *("(torch.Size([4, 3, 6, 6]), 180)", "(torch.Size([4, 6, 3, 3]), 546)", "(False, True)"),
        *(f"{RESNET18} 11178378", "1 4374 3 1458"),
        "2 groups of 16 torch.Size([4, 32, 96, 96]) 6944 16 groups of 2 torch.Size([4, 32, 96, 96]) 2912",
        "1 True False 3 True False 11 True False",
    ],
    HOMEWORK: [
        *(COUNTS, CORR2D, BAND, EDGES, NOTHING),
        *(losses("17.597", "5.814", "2.148", "0.841", "0.338"), "tensor([[ 1.0471, -0.9279]])", "200 30.6% lost"),
        *("(8, 8) (8, 8) (4, 4) (2, 2)", CHANNELS, "torch.Size([3, 2, 2, 2])", STACKED, "True"),
        *("tensor([[4., 5.], [7., 8.]])", "tensor([[2., 3.], [5., 6.]])", f"tensor([[{POOLED}]])"),
        *(f"tensor([[{POOLED}]])", f"tensor([[{POOLED}, [[ 6., 8.], [14., 16.]]]])", LENET, f"{VGG11} 128806154"),
        *("torch.Size([4, 3, 6, 6])", "(torch.Size([4, 6, 3, 3]), 546)", RESNET18, "11178378"),
        "torch.Size([4, 32, 96, 96]) (2, 6944)",
    ],
}
"""What must be shown, in this order; other things may stand between. Worked out by hand or published, not copied."""


def is_training(cell: Any) -> bool:
    return "training" in cell.metadata.get("tags", [])


def code(content: Any) -> list[Any]:
    return [cell for cell in content.cells if cell.cell_type == "code"]


def words(cell: Any) -> str:
    """What a cell showed, without the spaces that only make it look tidy."""
    parts = [o.text if o.output_type == "stream" else o.get("data", {}).get("text/plain", "") for o in cell.outputs]
    return " ".join(" ".join(parts).split())


@pytest.fixture(scope="module", params=[QUESTIONS, HOMEWORK])
def name(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def stored(name: str) -> Any:
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


@pytest.fixture(scope="module")
def executed(name: str, tmp_path_factory) -> Any:
    """Run as a reader would; where Fashion-MNIST is not at hand, without the cells that train."""
    copy = tmp_path_factory.mktemp(name) / "copy.ipynb"
    if os.environ.get("CONVSCOPE_DATA"):
        shortened = ["--max-epochs", "1", "--limit", str(IMAGES)]
        assert main(["notebook", str(FOLDER / f"{name}.ipynb"), "--out", str(copy), *shortened]) == 0
        return nbformat.read(copy, as_version=4)
    content = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    content.cells = [cell for cell in content.cells if not is_training(cell)]
    outcome = run(content, folder=FOLDER, watcher=Nobody(), preparation="import convscope.d2l.activate")
    assert outcome.failure is None, outcome.failure
    return content


class Nobody:
    def started(self, number: int, total: int, source: str) -> None: ...
    def said(self, text: str) -> None: ...
    def finished(self, number: int, seconds: float) -> None: ...


def test_what_is_stored_is_what_must_be_shown(name, stored):
    shown = iter([words(cell) for cell in code(stored)])
    for expected in EXPECTED[name]:
        squeezed = " ".join(expected.split())
        assert any(squeezed == " ".join(each.replace("[ ", "[ ").split()) for each in shown), squeezed


def test_it_runs_and_shows_what_is_stored(stored, executed):
    fresh = {cell.id: cell for cell in code(executed)}
    for cell in code(stored):
        if not is_training(cell):
            assert words(fresh[cell.id]) == words(cell), cell.source
            assert not [o for o in fresh[cell.id].outputs if o.get("name") == "stderr"], cell.source


@pytest.mark.fashion_mnist
@pytest.mark.skipif(not os.environ.get("CONVSCOPE_DATA"), reason="CONVSCOPE_DATA names no folder with Fashion-MNIST")
def test_training_says_how_many_are_right_and_draws_a_curve(executed):
    trained = [cell for cell in code(executed) if is_training(cell)]
    assert len(trained) == 3
    for cell in trained:
        assert any(kind.startswith("image/") for o in cell.outputs for kind in o.get("data", {})), cell.source
        share = float(words(cell).split("%")[0].split()[-1]) / 100
        assert (share * IMAGES) == pytest.approx(round(share * IMAGES), abs=0.01)  # of so many images
        assert not [o for o in cell.outputs if o.get("name") == "stderr"], words(cell)


def test_what_is_stored_is_small_and_of_words(stored):
    for cell in code(stored):
        assert not (is_training(cell) and cell.outputs)
        assert len(cell.source.splitlines()) <= 18, cell.source
        assert max(map(len, cell.source.splitlines())) <= 120
        for output in cell.outputs:
            assert output.output_type in ("stream", "execute_result")
            assert set(output.get("data", {"text/plain": ""})) == {"text/plain"}
    assert stored.metadata == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
