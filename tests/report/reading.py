"""Writes a report of a made run and reads it as a browser would."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

from torch import nn

from convscope import report as reports
from convscope.train import Run
from report import made

VOID = {"meta", "link", "br", "img", "hr", "input"}


class Page(HTMLParser):
    """Reads a page, checks that every tag is closed in order, and keeps texts, identifiers and references."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.tags: list[str] = []
        self.pieces: list[str] = []
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("href", "src", "xlink:href", "data", "action"):
                self.references.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.open):
            self.pieces.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.pieces))


def write(
    folder: Path, data, rows=(), *, wrong: int = 2, model: nn.Module | None = None, **kwargs
) -> tuple[Page, str, Run]:
    run = made.run(folder / "run", data, rows, **kwargs)
    path = reports.write(run, model or made.network(data), data, evaluation=made.evaluation(data, wrong=wrong))
    assert path == run.path / "report.html"
    source = path.read_text(encoding="utf-8")
    return Page(source), source, run


FINISHED = (*made.history(3).rows, made.end(3, 10 / 12))
