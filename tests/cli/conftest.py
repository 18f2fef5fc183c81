"""Run verbs in this process, with a cache of their own."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from convscope.cli import main


@dataclass
class Answer:
    code: int
    out: str
    err: str


@pytest.fixture
def convscope(capsys, tmp_path, monkeypatch) -> Callable[..., Answer]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")

    def run(*words: object) -> Answer:
        try:
            code = main([str(word) for word in words])
        except SystemExit as stopped:  # how the flag parser answers wrong words and --help
            code = int(stopped.code or 0)
        captured = capsys.readouterr()
        return Answer(code, captured.out, captured.err)

    return run
