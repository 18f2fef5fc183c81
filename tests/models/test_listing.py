"""What ``convscope models`` prints: everything that is known, in a narrow terminal too."""

import re

import pytest
from rich.console import Console

from convscope import models
from convscope.cli import models as verb


@pytest.fixture
def listing(monkeypatch, capsys):
    """The lines that a terminal of so many columns shows."""

    def show(columns, *words):
        monkeypatch.setattr(verb, "results", lambda: Console(width=columns, highlight=False, markup=False))
        assert verb.main(list(words)) == 0
        return capsys.readouterr().out.splitlines()

    return show


@pytest.mark.parametrize("columns", [80, 140])
def test_every_width_shows_accuracy_and_paper(listing, columns):
    lines = listing(columns)
    assert max(map(len, lines)) <= columns
    assert lines[0].split()[:6] == ["model", "parameters", "MACs", "at", "top-1", "paper"]
    row = next(line for line in lines if line.startswith("resnet18 "))
    assert re.match(r"resnet18 +11,689,512 +1\.81 G +3x224x224 +69\.76 % +\(\d+\)", row)
    description = models.info("resnet18").description
    assert (description in row) == (columns == 140)
    assert (f"    {description}" == lines[lines.index(row) + 1]) == (columns == 80)
    assert ("A wider terminal shows" in " ".join(lines)) == (columns == 80)
    said = " ".join(line.strip() for line in lines)
    for name in models.names():
        paper = models.info(name).paper
        assert any(line.startswith(f"{name} ") for line in lines)
        assert paper in said


def test_the_line_of_a_network_whose_result_has_its_own_source(listing):
    said = " ".join(listing(200, "resnet*_cifar"))
    assert "top-1 on CIFAR-10: He et al., Deep residual learning for image recognition, table 6 " in said
    assert "top-1 of resnet110_cifar on CIFAR-10: " in said
    assert "the best of five runs, whose mean error is 6.61 %" in said


def test_a_few_networks_need_less_room(listing):
    assert listing(110, "lenet")[1].endswith("two 5x5 convolutions, three dense layers, sigmoids")
