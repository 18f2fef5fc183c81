"""The example notebooks as pages: their links lead somewhere, and no question of the first is left out."""

import re
from pathlib import Path

import nbformat
import pytest

from docs.test_documents import Page

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "examples" / "notebooks").glob("*.ipynb"))


def prose(path: Path) -> str:
    return "\n\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown")


def test_there_are_two():
    assert [path.name[:4] for path in NOTEBOOKS] == ["000_", "001_"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_links_lead_somewhere(path):
    links = re.findall(r"\]\(([^)\s]+)\)", prose(path))
    assert links
    for link in links:
        file, _, anchor = link.partition("#")
        target = path.parent / file
        assert target.is_file(), link
        assert not anchor or anchor in Page.read(target).anchors(), link


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_says_how_to_run_it_by_its_own_name(path):
    assert f"convscope notebook examples/notebooks/{path.name} --max-epochs" in prose(path)


def test_every_question_is_asked_and_leads_to_an_answer():
    asked = re.findall(r"> \*\*Question (\d+)\.\*\*(.*?)(?=\n>\n|\n\n|$)", prose(NOTEBOOKS[0]), re.DOTALL)
    assert [int(number) for number, _ in asked] == list(range(1, 12))
    assert all("](../../docs/from-the-notebooks.md#" in text for _, text in asked)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_slips_are_marked(path):
    assert prose(path).count("**Mended") >= 8
