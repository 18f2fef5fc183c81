"""`convscope notebook`: what it runs, what it writes, and what it says when it cannot."""

import base64
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import pytest

from convscope.cli import main
from convscope.d2l.limits import Limits
from convscope.notebook import NotebookError, as_notebook, as_page, read_notebook, run, split_script
from convscope.notebook.terminal import plain

v4 = nbformat.v4
WRONG = {"cells": [{"cell_type": "code", "source": "1", "metadata": {}}], "metadata": {}}  # its cell has no outputs


@dataclass
class Answer:
    code: int
    out: str
    err: str


@pytest.fixture
def notebook(capsys, tmp_path, monkeypatch) -> Callable[..., Answer]:
    """The verb, in an empty folder, without limits from outside."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    for name in Limits(1, 1).environment():
        monkeypatch.delenv(name, raising=False)

    def verb(*words: object) -> Answer:
        try:
            code = main(["notebook", *(str(word) for word in words)])
        except SystemExit as stopped:
            code = int(stopped.code or 0)
        captured = capsys.readouterr()
        return Answer(code, captured.out, captured.err)

    return verb


def write(path: str, *sources: str, **metadata: Any) -> Path:
    content = v4.new_notebook(cells=[v4.new_code_cell(source) for source in sources], metadata=metadata)
    Path(path).write_text(nbformat.writes(content), encoding="utf-8")
    return Path(path)


def shown(cell: Any) -> str:
    """What a cell showed in words."""
    return "".join(
        o.text if o.output_type == "stream" else str(o.get("data", {}).get("text/plain")) for o in cell.outputs
    )


class Silent:
    """A watcher that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def started(self, *what: Any) -> None:
        self.told.append(("started", *what))

    def said(self, *what: Any) -> None:
        self.told.append(("said", *what))

    def finished(self, *what: Any) -> None:
        self.told.append(("finished", what[0]))


def test_a_notebook_runs_and_its_copy_holds_what_it_showed(notebook, tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "beside.txt").write_text("beside")
    sources = [
        "from d2l import torch as d2l\nd2l.__name__",
        "!pip install d2l==1.0.3",
        "import os\nprint(open('beside.txt').read(), *(os.environ[f'CONVSCOPE_{x}'] for x in ('MAX_EPOCHS', 'LIMIT')))",
        "print('one'); print('two', end='')\nX = 20",
        "X + 1",
    ]
    file = write("deep/a.ipynb", *sources, kernelspec={"name": "conda_of_somebody", "display_name": "?"})
    before = file.read_bytes()
    answer = notebook(file, "--max-epochs", 2, "--limit", 30)
    assert (answer.code, answer.out) == (0, "a-executed.ipynb\n"), answer.err
    assert file.read_bytes() == before
    copy = nbformat.read("a-executed.ipynb", as_version=4)
    nbformat.validate(copy)
    assert [cell.source for cell in copy.cells] == sources
    assert [cell.execution_count for cell in copy.cells] == [1, 2, 3, 4, 5]
    name, skipped, environment, printed, value = map(shown, copy.cells)
    assert (name, printed, value) == ("'convscope.d2l.torch'", "one\ntwo", "21")
    assert environment == "beside 2 30\n"
    assert skipped == "convscope: left out `pip install d2l==1.0.3`: d2l is convscope's own here\n"
    lines = answer.err.splitlines()
    assert lines[0] == "a.ipynb: `from d2l import torch as d2l` gives convscope.d2l"
    assert lines[1].startswith("shortened to at most 2 epochs, at most 30 images of each split of Fashion-MNIST;")
    assert lines.index("[4/5] print('one'); print('two', end='')") + 1 == lines.index("one")
    assert lines.index("two") + 1 == lines.index("[5/5] X + 1")  # a line that was left open is closed
    assert lines[-1].startswith("5 cells in ")


def test_a_page_of_the_book_runs(notebook):
    page = "# T\n```{.python .input}\n%%tab pytorch, jax\nif tab.selected('pytorch'):\n    x = 2\nx * 21\n```\n"
    Path("page.md").write_text(page + "```{.python .input}\n%%tab jax\nimport nothing_like_it\n```\n")
    answer = notebook("page.md", "--out", "done.ipynb")
    assert answer.code == 0, answer.err
    prose, cell = nbformat.read("done.ipynb", as_version=4).cells
    assert (prose.source, cell.source, shown(cell)) == ("# T", "x = 2\nx * 21", "42")


def test_a_script_runs_and_knows_its_name(notebook, tmp_path):
    Path("sub").mkdir()
    Path("sub/s.py").write_text(
        '"""Words."""\nimport sys\nfrom pathlib import Path\n\nif __name__ == "__main__":\n'
        "    print(sys.argv, Path(__file__).name, 'in', Path.cwd().name)\n"
    )
    answer = notebook("sub/s.py", "--out", "s.html")
    assert (answer.code, answer.out) == (0, "s.html\n"), answer.err
    assert "['sub/s.py'] s.py in sub\n" in answer.err
    page = Path("s.html").read_text()
    assert "[&#x27;sub/s.py&#x27;] s.py in sub" in page
    assert "<script" not in page
    assert not re.search(r"(?:src|href)=\"(?!data:)", page)  # needs no network


def test_the_first_error_stops_it_and_shows_the_cell(notebook):
    file = write("a.ipynb", "print('before')", "def f(x):\n    return 1 / x\nf(0)", "print('never')")
    answer = notebook(file)
    assert (answer.code, answer.out) == (1, "a-executed.ipynb\n")
    assert "convscope: cell 2 of 3 failed: ZeroDivisionError: division by zero\n" in answer.err
    assert "   1  def f(x):\n   2      return 1 / x\n   3  f(0)\n" in answer.err
    assert "----> 2     return 1 / x" in answer.err
    assert "\x1b" not in answer.err
    assert "never" not in answer.err
    first, second, third = nbformat.read("a-executed.ipynb", as_version=4).cells
    assert shown(first) == "before\n"
    assert second.outputs[-1].ename == "ZeroDivisionError"
    assert not third.outputs


def test_a_cell_that_may_fail_does_not_stop_it(notebook):
    file = write("a.ipynb", "1 / 0", "print('after')")
    content = nbformat.read(file, as_version=4)
    content.cells[0].metadata["tags"] = ["raises-exception"]
    nbformat.write(content, file)
    answer = notebook(file)
    assert answer.code == 0
    assert "after\n" in answer.err


def test_outputs_of_before_are_gone(notebook):
    file = write("a.ipynb", "1 / 0", "2")
    content = nbformat.read(file, as_version=4)
    content.cells[1].outputs = [v4.new_output("stream", text="of another day")]
    nbformat.write(content, file)
    notebook(file)
    assert "another day" not in Path("a-executed.ipynb").read_text()


def test_a_kernel_that_dies_is_a_sentence(notebook):
    file = write("a.ipynb", "print(1)", "import os\nos._exit(9)", "print(2)")
    answer = notebook(file)
    assert answer.code == 1
    assert "cell 2 of 3 failed: the process of the notebook ended: it may have run out of memory" in answer.err
    assert "   2  os._exit(9)\n" in answer.err
    assert "Traceback" not in answer.err
    assert shown(nbformat.read("a-executed.ipynb", as_version=4).cells[0]) == "1\n"


@pytest.mark.parametrize("end", ["import sys; sys.exit(0)", "raise SystemExit", "exit(None)", "quit()"])
def test_a_program_may_end_itself(notebook, end):
    answer = notebook(write("a.ipynb", "print('before', end='')", f"print('x')\n{end}\nprint('y')", "print('never')"))
    assert (answer.code, answer.out) == (0, "a-executed.ipynb\n"), answer.err
    lines = answer.err.splitlines()[-2:]
    assert lines[0] == "the program ended itself in cell 2 of 3; later cells were not run"
    assert lines[1].startswith("2 cells in ")
    copy = nbformat.read("a-executed.ipynb", as_version=4)
    assert list(map(shown, copy.cells)) == ["before", "x\n", ""]
    assert all(output.output_type == "stream" for cell in copy.cells for output in cell.outputs)
    assert "Warning" not in answer.err


def test_a_script_that_ends_itself_in_its_last_cell_just_ends(notebook):
    Path("s.py").write_text("import sys\nif __name__ == '__main__':\n    sys.exit()\n")
    answer = notebook("s.py")
    assert answer.code == 0
    assert "ended itself" not in answer.err


@pytest.mark.parametrize(("code", "said"), [("3", " with exit code 3"), ("'no images'", ": no images")])
def test_a_program_that_ends_itself_with_a_failure_has_failed(notebook, code, said):
    answer = notebook(write("a.ipynb", f"import sys\nsys.exit({code})", "print('never')"))
    assert answer.code == 1
    assert f"cell 1 of 2 failed: the program ended itself{said}\n" in answer.err
    assert "Warning" not in answer.err
    assert "%tb" not in answer.err
    assert nbformat.read("a-executed.ipynb", as_version=4).cells[0].outputs[-1].ename == "SystemExit"


def test_input_is_refused_and_not_waited_for(notebook):
    answer = notebook(write("a.ipynb", "input('name? ')"))
    assert answer.code == 1
    assert "StdinNotImplementedError" in answer.err


def interrupted(folder: Path, begin: str, *, presses: int = 1) -> subprocess.CompletedProcess[str]:
    """Run a.ipynb in a process of its own, and press Ctrl-C a while after a line that begins so."""
    command = [sys.executable, "-m", "convscope", "notebook", "a.ipynb"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while not process.stderr.readline().startswith(begin):
            assert process.poll() is None
        for _ in range(presses):
            time.sleep(0.5)
            process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def test_ctrl_c_writes_what_there_is(tmp_path):
    write(str(tmp_path / "a.ipynb"), "print('ready')", "import time\nfor i in range(600): time.sleep(0.1)", "3")
    answer = interrupted(tmp_path, "[2/3]")
    assert answer.returncode == 130, answer.stderr
    assert answer.stdout == "a-executed.ipynb\n"
    assert "KeyboardInterrupt" in answer.stderr
    assert answer.stderr.endswith("convscope: interrupted\n")
    first, second, third = nbformat.read(tmp_path / "a-executed.ipynb", as_version=4).cells
    assert (shown(first), second.outputs[-1].ename, third.outputs) == ("ready\n", "KeyboardInterrupt", [])


def test_ctrl_c_that_a_cell_catches_stops_the_cells_after_it(tmp_path):
    deaf = "import time\ntry:\n    time.sleep(60)\nexcept KeyboardInterrupt:\n    print('caught')"
    write(str(tmp_path / "a.ipynb"), deaf, "print('never')")
    answer = interrupted(tmp_path, "[1/2]")
    assert (answer.returncode, answer.stdout) == (130, "a-executed.ipynb\n"), answer.stderr
    assert answer.stderr.endswith("convscope: interrupted\n")
    assert "[2/2]" not in answer.stderr
    assert "failed" not in answer.stderr
    first, second = nbformat.read(tmp_path / "a-executed.ipynb", as_version=4).cells
    assert (shown(first), second.outputs) == ("caught\n", [])


def test_a_second_ctrl_c_ends_a_cell_that_catches_all_and_says_so(tmp_path):
    deaf = "import time\nwhile True:\n    try:\n        time.sleep(60)\n    except KeyboardInterrupt:\n        pass"
    write(str(tmp_path / "a.ipynb"), deaf)
    answer = interrupted(tmp_path, "[1/1]", presses=2)
    assert (answer.returncode, answer.stdout) == (130, "a-executed.ipynb\n"), answer.stderr
    assert "cell 1 of 1 failed: the process of the notebook ended: stopped by Ctrl-C\n" in answer.stderr
    assert "memory" not in answer.stderr


def test_ctrl_c_before_the_first_cell_ends_it_at_once(tmp_path):
    write(str(tmp_path / "a.ipynb"), "import time\ntime.sleep(60)")
    answer = interrupted(tmp_path, "a.ipynb: ")
    assert (answer.returncode, answer.stderr) == (130, "convscope: interrupted\n")


def test_ctrl_c_between_two_cells_stops_it(tmp_path):
    class Impatient(Silent):
        def finished(self, *what: Any) -> None:
            super().finished(*what)
            os.kill(os.getpid(), signal.SIGINT)

    sources = [("code", f"print({number})") for number in range(4)]
    outcome = run(as_notebook(sources), folder=tmp_path, watcher=Impatient())
    assert (outcome.interrupted, outcome.failure) == (True, None)
    assert outcome.ran < 3


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["none.ipynb"], 1, "there is no file none.ipynb"),
        (["a.txt"], 2, "expected a file .ipynb, .md or .py, got a.txt"),
        (["a.py", "--out", "b.pdf"], 2, "--out must end in .ipynb or .html, got b.pdf"),
        (["a.py", "--out", "nowhere/b.ipynb"], 2, "there is no folder nowhere; make it, or choose another --out"),
        (["a.py", "--out", "there.ipynb"], 2, "there.ipynb is there already; add --force to replace it"),
        (["there.ipynb", "--out", "there.ipynb", "--force"], 2, "there.ipynb is the notebook itself"),
        (["a.py", "--out", "folder.html"], 2, "folder.html is a folder"),
        (["a.py", "--max-epochs", "0"], 2, "--max-epochs must be at least 1, got 0"),
        (["a.py", "--limit", "-5"], 2, "--limit must be at least 1, got -5"),
        (["empty.py"], 1, "empty.py: there is no code in it"),
        (["prose.md"], 1, "prose.md has no code for the tab pytorch; the book's files have it between"),
        (["open.md"], 1, "open.md: line 1: the code that begins here is never closed"),
        (["latin.py"], 1, "latin.py is no text in UTF-8 (byte 2)"),
        (["broken.ipynb"], 1, "broken.ipynb is no notebook: it is not valid JSON (line 1, column 11)"),
        (["list.ipynb"], 1, "list.ipynb is no notebook: it is JSON without the parts of one"),
        (["other.ipynb"], 1, "other.ipynb is no"),
        (["wrong.ipynb"], 1, "wrong.ipynb is no valid notebook: 'outputs' is a required property (at ['cells'][0])"),
        (["r.ipynb"], 1, "r.ipynb is written in R; convscope runs notebooks in Python"),
    ],
)
def test_what_cannot_be_run_gets_a_sentence(notebook, words, code, said):
    write("there.ipynb", "1")
    write("r.ipynb", "1", kernelspec={"name": "ir", "display_name": "R", "language": "R"})
    Path("folder.html").mkdir()
    files = {
        "a.py": "1\n",
        "a.txt": "1\n",
        "empty.py": "\n\n",
        "prose.md": "# Prose\n```python\n1\n```\n",
        "open.md": "```{.python .input}\n1\n",
        "broken.ipynb": '{"cells": ',
        "list.ipynb": "[1, 2]",
        "other.ipynb": '{"a": 1}',
        "wrong.ipynb": json.dumps({**WRONG, "nbformat": 4, "nbformat_minor": 5}),
    }
    for name, text in files.items():
        Path(name).write_text(text)
    Path("latin.py").write_bytes(b'"\xe4"\n'.replace(b'"', b"'a", 1))
    there = Path("there.ipynb").read_bytes()
    answer = notebook(*words)
    assert (answer.code, answer.out) == (code, "")
    assert said in answer.err
    assert len(answer.err.strip().splitlines()) <= 2
    assert "Traceback" not in answer.err
    assert Path("there.ipynb").read_bytes() == there


def test_an_executed_copy_is_replaced_only_by_force(notebook):
    Path("a.py").write_text("1\n")
    assert notebook("a.py").code == 0
    first = Path("a-executed.ipynb").read_bytes()
    Path("a.py").write_text("2\n")
    refused = notebook("a.py")
    assert refused.code == 2
    assert "a-executed.ipynb is there already" in refused.err
    assert Path("a-executed.ipynb").read_bytes() == first
    assert notebook("a.py", "--force").code == 0
    assert shown(nbformat.read("a-executed.ipynb", as_version=4).cells[0]) == "2"


def test_a_folder_that_cannot_be_written_is_found_before_anything_runs(notebook, monkeypatch):
    Path("a.py").write_text("open('ran', 'w')\n")
    Path("shut").mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != Path("shut"))
    answer = notebook("a.py", "--out", "shut/a.ipynb")
    assert (answer.code, Path("ran").exists()) == (2, False)
    assert "nothing can be written into the folder shut" in answer.err


@pytest.mark.parametrize("missing", ["nbformat", "nbclient", "ipykernel"])
def test_without_the_extra_one_message_names_it(notebook, monkeypatch, missing):
    for name in [name for name in sys.modules if name.partition(".")[0] == missing]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)  # importing it raises ModuleNotFoundError
    Path("a.py").write_text("1\n")
    answer = notebook("a.py")
    assert answer.code == 1
    assert f"running notebooks needs {missing}; install the extra: pip install 'convscope[notebook]'" in answer.err


def test_a_preparation_that_fails_is_said(tmp_path):
    content = as_notebook([("code", "1")])
    with pytest.raises(
        NotebookError, match="the notebook could not be prepared: NameError: name 'nothing' is not defined"
    ):
        run(content, folder=tmp_path, watcher=Silent(), preparation="nothing")


def test_no_kernel_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(NotebookError, match=r"no kernel: Python's process for the cells did not start"):
        run(as_notebook([("code", "1")]), folder=tmp_path, watcher=Silent())


def test_an_error_of_a_watcher_is_its_own(tmp_path):
    class Broken(Silent):
        def started(self, *what: Any) -> None:
            raise RuntimeError("of the watcher")

    with pytest.raises(RuntimeError, match=r"^of the watcher$"):
        run(as_notebook([("code", "1")]), folder=tmp_path, watcher=Broken())


def test_a_watcher_is_told_in_order_also_for_equal_cells(tmp_path):
    content = as_notebook([("code", "print(1)"), ("markdown", "words"), ("code", ""), ("code", "print(1)")])
    watcher = Silent()
    outcome = run(content, folder=tmp_path, watcher=watcher, environment={"A": "b"})
    assert (outcome.total, outcome.ran, outcome.failure, outcome.interrupted) == (2, 2, None, False)
    assert watcher.told == [
        *(("started", 1, 2, "print(1)"), ("said", "1\n"), ("finished", 1)),
        *(("started", 2, 2, "print(1)"), ("said", "1\n"), ("finished", 2)),
    ]
    assert [shown(cell) for cell in content.cells if cell.cell_type == "code"] == ["1\n", "", "1\n"]


@pytest.mark.parametrize(
    ("script", "parts"),
    [
        ("a = 1\nb = 2\n", [("code", "a = 1\nb = 2")]),
        ("# %%\na\n# %% With a title\nb\n", [("code", "a"), ("code", "b")]),
        ("a\n#%%\nb\n", [("code", "a"), ("code", "b")]),
        ("# %% [markdown]\n# # Title\n#\n# Words.\n# %%\na\n", [("markdown", "# Title\n\nWords."), ("code", "a")]),
        ("a\n# %%time is no mark\n", [("code", "a\n# %%time is no mark")]),
        ("# %%\n\n# %%\na\n", [("code", "a")]),
        ("#%%%\na\n", [("code", "#%%%\na")]),
    ],
)
def test_a_script_is_split_at_its_marks(script, parts):
    assert split_script(script) == parts


def test_an_old_notebook_is_brought_up_to_date(tmp_path):
    old = {
        "metadata": {},
        "nbformat": 3,
        "nbformat_minor": 0,
        "worksheets": [{"cells": [{"cell_type": "code", "input": "1 + 1", "language": "python", "outputs": []}]}],
    }
    (tmp_path / "old.ipynb").write_text(json.dumps(old))
    assert read_notebook(tmp_path / "old.ipynb").cells[0].source == "1 + 1"
    nameless = {"cells": [{"cell_type": "markdown", "metadata": {}, "source": "a"}], "metadata": {}}
    (tmp_path / "new.ipynb").write_text(json.dumps({**nameless, "nbformat": 4, "nbformat_minor": 5}))
    assert read_notebook(tmp_path / "new.ipynb").cells[0].id  # and no warning


def test_the_page_shows_every_kind_of_output_and_runs_nothing():
    cell = v4.new_code_cell("x < 1", execution_count=3)
    svg = "<svg onload='alert(1)'></svg>"
    cell.outputs = [
        v4.new_output("stream", name="stderr", text="<b>\x1b[31mred\x1b[0m"),
        v4.new_output("display_data", {"image/svg+xml": svg, "text/plain": "svg"}),
        v4.new_output("display_data", {"image/png": "aGk=\n", "text/plain": "png"}),
        v4.new_output("execute_result", {"text/html": "<table><tr><td>1</td></tr></table>", "text/plain": "t"}),
        v4.new_output("display_data", {"text/markdown": "*soft*"}),
        v4.new_output("execute_result", {"text/plain": "<Figure>"}),
        v4.new_output("error", ename="E", evalue="<bad>", traceback=[]),
    ]
    page = as_page(v4.new_notebook(cells=[v4.new_markdown_cell("# A <i>\n\n| a |\n|-|\n| b |"), cell]), "T & t")
    assert "<title>T &amp; t</title>" in page
    assert "default-src 'none'" in page
    assert "onload" not in page
    for part in (
        *("<h1>A &lt;i&gt;</h1>", "<td>b</td>", "[3]", "&lt;b&gt;red", 'src="data:image/png;base64,aGk="'),
        *('src="data:image/svg+xml;base64,', "<td>1</td>", "<em>soft</em>", "&lt;Figure&gt;", "E: &lt;bad&gt;"),
    ):
        assert part in page, part


@pytest.mark.parametrize(
    ("written", "left"),
    [
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]8;;https://a.b\x1b\\link\x1b]8;;\x07 \x1b]0;title\x07\x1b[?25lend\x1b[?25h\x1b(B\x1b=", "link end"),
        (" 10%|#   |\r 50%|##  |\r100%|####|\nnext", "100%|####|\nnext"),
        ("longer\rshort", "shortr"),
        ("longer\r\x1b[Kshort\r\n", "short\n"),
        ("a long line\x1b[2K\rx", "x"),
        ("abc\x1b[3D\x1b[1K", "   "),
        ("typo\b\be", "tyeo"),
        ("cut off \x1b[3", "cut off "),
        ("\x1b[2A<b>", "<b>"),
    ],
)
def test_text_is_shown_as_a_terminal_leaves_it(written, left):
    assert plain(written) == left


PNG = base64.b64encode(b"\x89PNG of a picture").decode()


def test_pictures_of_the_prose_are_put_into_the_page(tmp_path):
    folder = tmp_path / "here"
    (folder / "img").mkdir(parents=True)
    for name in ("here/img/b c.JPG", "here/d.svg", "here/e.txt", "outside.png"):
        (tmp_path / name).write_bytes(name.encode())
    (folder / "link.png").symlink_to(tmp_path / "outside.png")
    prose = v4.new_markdown_cell("![one](attachment:a%20b.png) ![two](<img/b c.JPG>) [![three](./d.svg)](x)")
    prose["attachments"] = {"a b.png": {"text/plain": "no", "image/png": PNG[:9] + "\n" + PNG[9:]}}
    left = ["../outside.png", "link.png", "https://a.b/c.png", "//a.b/d.svg", "e.txt", "none.png", "attachment:z.png"]
    left += [str(tmp_path / "outside.png"), "a%00.png", "img/" + 300 * "a" + ".png"]
    others = v4.new_markdown_cell("\n".join(f"![]({name})" for name in left))
    page = as_page(v4.new_notebook(cells=[prose, others]), "T", folder=folder)
    contents = [("image/jpeg", b"here/img/b c.JPG"), ("image/svg+xml", b"here/d.svg")]
    kinds = [("image/png", PNG), *((kind, base64.b64encode(content).decode()) for kind, content in contents)]
    sources = re.findall(r'<img src="([^"]*)"', page)
    assert sources[:3] == [f"data:{kind};base64,{content}" for kind, content in kinds]
    assert sources[3:] == left
    assert 'src="./d.svg"' in as_page(v4.new_notebook(cells=[prose]), "T")


def test_the_page_shows_raw_cells():
    page = as_page(v4.new_notebook(cells=[v4.new_raw_cell("\\begin{a} <b>")]), "T")
    assert "<pre>\\begin{a} &lt;b&gt;</pre>" in page


def test_the_page_has_the_pictures_beside_the_notebook(notebook):
    Path("deep").mkdir()
    Path("deep/b.png").write_bytes(base64.b64decode(PNG))
    Path("deep/s.py").write_text("# %% [markdown]\n# ![](b.png)\n# %%\n1\n")
    assert notebook("deep/s.py", "--out", "s.html").code == 0
    assert f'src="data:image/png;base64,{PNG}"' in Path("s.html").read_text()
