"""Every page does what it says: its examples run, its links lead somewhere, and its table leaves no cell out."""

from __future__ import annotations

import doctest
import importlib
import re
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import pytest

from convscope import models

ROOT = Path(__file__).parents[2]
NOTEBOOKS = ROOT / "docs" / "from-the-notebooks.md"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]

FIRST_NOTEBOOK = {
    *(1, 4, 5, 6, 8),  # padding and stride
    *(12, 14, 17, 19, 21, 22, 23, 25),  # pooling
    *(38, 46, 47, 50),  # VGG
    *(83, 84, 86, 91),  # channels
    *range(97, 111),  # cross-correlation, edges, learning a kernel
    *range(113, 117),  # LeNet
    *(117, *range(123, 128), *range(133, 138)),  # ResNet, ResNeXt
}
SECOND_NOTEBOOK = set(range(1, 52))


@dataclass(frozen=True)
class Page:
    """A page taken apart. Both lists have as many lines as the page, so that line numbers stay true.

    Args:
        prose: What is read; lines of code blocks are empty.
        code: What stands in ``python`` blocks; all other lines are empty.
    """

    prose: list[str]
    code: list[str]

    @classmethod
    def read(cls, path: Path) -> Page:
        page, language = cls([], []), None
        for line in path.read_text(encoding="utf-8").splitlines():
            fence = line.startswith("```")
            page.prose.append("" if fence or language is not None else line)
            page.code.append(line if language == "python" and not fence else "")
            if fence:
                language = line.removeprefix("```").strip() if language is None else None
        assert language is None, f"{path.name}: a code block is not closed"
        return page

    def starts(self) -> list[int]:
        """The line of every second-level heading, and the end of the page."""
        return [i for i, line in enumerate(self.prose) if line.startswith("## ")] + [len(self.prose)]

    def anchors(self) -> set[str]:
        """What a link to this page may end in, as GitHub forms it from headings."""
        headings = [re.sub(r"^#+ ", "", line) for line in self.prose if re.match(r"#+ ", line)]
        slugs = sorted(re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings)
        return {slug + (f"-{n}" if n else "") for slug, same in groupby(slugs) for n, _ in enumerate(same)}

    def links(self) -> list[str]:
        """Where its links and pictures point, other than to addresses in the net."""
        text = re.sub(r"`[^`]*`", "", "\n".join(self.prose))
        return [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if not re.match(r"[a-z]+:", link)]


def examples(path: Path) -> list[doctest.DocTest]:
    """A test for each section: what stands before the first section runs first, then the section alone."""
    page = Page.read(path)
    opening, *_ = starts = page.starts()
    tests = []
    for start, end in zip([0, *starts], starts, strict=False):
        text = "\n".join(line if i < opening or start <= i < end else "" for i, line in enumerate(page.code))
        name = path.name if start == 0 else f"{path.name}: {page.prose[start].removeprefix('## ')}"
        test = doctest.DocTestParser().get_doctest(text, {}, name, str(path), 0)
        if any(start <= example.lineno < end for example in test.examples):
            tests.append(test)
    return tests


def failures(test: doctest.DocTest) -> str:
    """What went wrong, as doctest reports it; empty when all went right."""
    report: list[str] = []
    doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS).run(test, out=report.append)
    return "".join(report)


def broken(path: Path) -> list[str]:
    """The links of a page that lead nowhere."""
    wrong = []
    for link in Page.read(path).links():
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        known = Page.read(target).anchors() if anchor and target.suffix == ".md" and target.is_file() else set()
        if not target.exists() or (anchor and anchor not in known):
            wrong.append(link)
    return wrong


@pytest.mark.parametrize("test", [t for path in PAGES for t in examples(path)], ids=lambda test: test.name)
def test_examples_give_what_is_printed(test: doctest.DocTest) -> None:
    report = failures(test)
    assert not report, report


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    assert broken(path) == []


def table() -> list[list[str]]:
    """The rows of the table of cells: topic, cells of the first, cells of the second, names here, section."""
    rows = [line.strip("|").split("|") for line in Page.read(NOTEBOOKS).prose if line.startswith("|")]
    return [[field.strip() for field in row] for row in rows if len(row) == 5][2:]  # without head and rule


def numbers(field: str) -> list[int]:
    """``"4, 8-10"`` is 4, 8, 9, 10."""
    cells: list[int] = []
    for first, last in re.findall(r"(\d+)(?:-(\d+))?", field):
        cells.extend(range(int(first), int(last or first) + 1))
    return cells


@pytest.mark.parametrize(("column", "cells"), [(1, FIRST_NOTEBOOK), (2, SECOND_NOTEBOOK)], ids=["first", "second"])
def test_every_cell_has_a_place(column: int, cells: set[int]) -> None:
    named = {number for row in table() for number in numbers(row[column])}
    assert named == cells


def test_every_name_in_the_table_exists() -> None:
    found = re.findall(r"`([\w.]+)(?:\(\"(\w+)\"\))?`", " ".join(row[3] for row in table()))
    assert len(found) > 30
    for dotted, model in found:
        path = dotted if dotted.startswith("torch.") else f"convscope.{dotted}"
        module, _, name = path.rpartition(".")
        assert hasattr(importlib.import_module(module), name), path
        assert not model or model in models.names(), model


def test_every_section_that_the_table_names_has_an_example() -> None:
    shown = {test.name.partition(": ")[2] for test in examples(NOTEBOOKS)}
    assert {re.sub(r"\[(.*)\]\(.*\)", r"\1", row[4]) for row in table()} <= shown


def test_a_wrong_page_is_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    opening = "# Page\n\n```python\n>>> a = 1\n```\n"
    page.write_text(opening + "## One\n```python\n>>> a + 1\n2\n>>> b = 3\n```\n## Two\n```python\n>>> b\n3\n```\n")
    alone, one, two = examples(page)
    assert failures(alone) == failures(one) == ""
    assert "line 14, in page.md: Two" in failures(two)  # sections do not lean on each other
    assert "NameError" in failures(two)
    page.write_text('# Page\n```python\n>>> import warnings; warnings.warn("old")\n>>> 1\n2\n```\n')
    assert "UserWarning: old" in failures(examples(page)[0])
    assert "Expected:\n    2\nGot:\n    1" in failures(examples(page)[0])
    page.write_text("# A `b`, c\n## Twice\n## Twice\n[a](#a-b-c) [b](#twice-1) [c](#twice-2) [d](no.md) `[e](no)`\n")
    assert broken(page) == ["#twice-2", "no.md"]
