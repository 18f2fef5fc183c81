"""`from d2l import torch as d2l` finds ours, and says so. In processes of their own: it is about imports."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from convscope.d2l.finder import BookFinder, deactivate
from convscope.d2l.installs import without_install
from convscope.d2l.limits import Limits, limits

ROOT = Path(__file__).parents[2]


def python(program: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program where the book's own library is installed, as a package in ``folder``."""
    places = [str(folder) if folder else "", os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, places))}
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, env=environment)


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder with a package ``d2l`` that must not be used."""
    (tmp_path / "d2l").mkdir()
    (tmp_path / "d2l" / "__init__.py").write_text("__version__ = 'the real one'\n")
    (tmp_path / "d2l" / "torch.py").write_text("REAL = True\n")
    (tmp_path / "d2l" / "jax.py").write_text("REAL = True\n")
    return tmp_path


def test_ours_is_found_also_where_the_real_one_is_installed(installed):
    program = """
import importlib, sys
import d2l; assert d2l.__version__ == "the real one"; del sys.modules["d2l"]  # it is there
import convscope.d2l.activate
import convscope.d2l.activate, convscope.d2l
importlib.reload(convscope.d2l.activate)  # once more says nothing
from d2l import torch as d2l
import convscope.d2l.torch
assert d2l is convscope.d2l.torch is sys.modules["d2l.torch"]
assert d2l.__spec__.name == d2l.__name__ == "convscope.d2l.torch"
assert not hasattr(d2l, "REAL")
import d2l as package
assert package.torch is d2l and "convscope" in package.__version__ and package.__version__.startswith("1.0.3")
import d2l.torch
from d2l.torch import LeNet
assert LeNet is convscope.d2l.LeNet
old = d2l.torch.LeNet
assert importlib.reload(d2l.torch) is convscope.d2l.torch  # the file is read again, in place
d2l.torch.mark = 1
assert convscope.d2l.torch.mark == 1  # what is patched there is patched here
assert importlib.import_module("d2l.torch").corr2d is convscope.d2l.corr2d
"""
    answer = python(program, installed)
    assert (answer.returncode, answer.stdout) == (0, ""), answer.stderr
    assert answer.stderr.count("from d2l import torch as d2l") == 1
    assert answer.stderr.startswith("convscope: ")
    assert answer.stderr.count("\n") == 1


def test_looking_for_examples_in_the_sources_is_no_activation():
    """Pytest imports every file in which it looks for examples; all tests after that would find ours as d2l."""
    program = f"""
import os, sys
import pytest
os.chdir({str(ROOT)!r})
code = pytest.main(["--collect-only", "-qq", "-n", "0", "src/convscope/d2l"])
print(int(code), "convscope.d2l.torch" in sys.modules, [f for f in sys.meta_path if "Book" in type(f).__name__])
"""
    answer = python(program)
    assert answer.stdout.splitlines()[-1] == "0 True []", answer.stdout + answer.stderr


def test_without_it_nothing_is_changed(installed):
    answer = python(
        "import convscope.d2l.finder, convscope.d2l\nfrom d2l import torch as d2l\nprint(d2l.REAL)", installed
    )
    assert (answer.stdout, answer.stderr) == ("True\n", "")


def test_the_real_one_imported_before_is_refused_and_stays(installed):
    program = """
import sys
from d2l import torch
try:
    import convscope.d2l.activate
except ImportError as error:
    print(error)
import d2l
print(d2l.__version__, [finder for finder in sys.meta_path if "Book" in type(finder).__name__])
"""
    answer = python(program, installed)
    said, left = answer.stdout.splitlines()
    assert str(installed / "d2l" / "__init__.py") in said
    assert "restart Python" in said
    assert "`import convscope.d2l.activate` before" in said
    assert left == "the real one []"


@pytest.mark.parametrize("line", ["from d2l import jax as d2l", "import d2l.mxnet", "from d2l.tensorflow import LeNet"])
def test_other_frameworks_are_refused_with_what_to_write(installed, line):
    answer = python(f"import convscope.d2l.activate\n{line}", installed)
    assert answer.returncode == 1
    last = answer.stderr.splitlines()[-1]
    assert last.startswith("ImportError: convscope has the book's names for PyTorch only, got d2l.")
    assert "from d2l import torch as d2l" in last


def test_deactivated_finds_the_installed_one_again(installed):
    program = """
import convscope.d2l.activate as a
from d2l import torch as ours
a.deactivate()
from d2l import torch as theirs
print(theirs.REAL, ours is theirs)
"""
    assert python(program, installed).stdout == "True False\n"


SHELL = """
from IPython.core.interactiveshell import InteractiveShell
shell, asked = InteractiveShell.instance(), []
class Recorded(InteractiveShell):
    def system(self, command): asked.append(command)
    def getoutput(self, command): asked.append(command)
    def run_cell_magic(self, name, line, cell):
        return asked.append((name, cell)) if name in ("bash", "sh") else super().run_cell_magic(name, line, cell)
shell.__class__ = Recorded
def run(text):
    result = shell.run_cell(text)
    result.raise_error()
    return result.result
def asks(text):
    asked.clear()
    run(text)
    return asked
"""


def test_the_extension_of_ipython(installed):
    program = f"""{SHELL}
run("%load_ext convscope.d2l")
assert run("from d2l import torch as d2l; d2l.__name__") == "convscope.d2l.torch"
assert run("!pip install d2l==1.0.3") is None
run("if True:\\n    %pip install -q d2l")
assert not asked
run("%unload_ext convscope.d2l")
assert run("from d2l import torch as d2l; d2l.REAL") is True
assert asks("!pip install d2l") == ["pip install d2l"]
"""
    answer = python(program, installed)
    assert answer.returncode == 0, answer.stderr
    notes = [line for line in answer.stderr.splitlines() if line.startswith("convscope:")]
    assert len(notes) == 3
    assert "left out `pip install d2l==1.0.3`" in notes[1]
    assert "left out `pip install -q d2l`" in notes[2]


SPELLINGS = [
    *("!pip install d2l", "!!pip install d2l", "%pip install d2l", "pip install d2l==1.0.3", "x = !pip install d2l"),
    *("%%bash\npip install d2l\n", "%%sh\n\npip3 install d2l  # words\n", "%sx pip install d2l"),
    *("%uv pip install d2l", "%conda install d2l", "!{sys.executable} -m pip install d2l"),
    *("get_ipython().system('pip install d2l')", "for i in range(1):\n    !pip install \\\n  d2l\nx = 1"),
    *("%time !pip install d2l", "%%time\n!pip install d2l", "%%capture\nx = 1\n!pip install d2l"),
]


def test_no_spelling_of_a_cell_reaches_the_installer():
    program = f"""{SHELL}
run("%load_ext convscope.d2l")
for spelling in {SPELLINGS!r}:
    assert asks(spelling) == [], (spelling, asked)
assert asks("!pip install d2l torch") == ["pip install torch"]
assert asks("%pip install d2l && pip install torch") == ["cd . && pip install torch"]
assert asks("%%bash\\ncd x\\npip install d2l\\nls") == [("bash", "cd x\\ncd .\\nls\\n")], asked
assert asks("!!ls; pip install d2l") == ["ls; cd ."]
quoted = {chr(10).join(("x = '''", "!pip install d2l", "'''", "x"))!r}
assert run(quoted) == "\\n!pip install d2l\\n"
"""
    answer = python(program)
    assert answer.returncode == 0, answer.stderr
    assert answer.stderr.count("convscope: left out ") == len(SPELLINGS) - 1 + 4, (
        answer.stderr
    )  # %%capture keeps its own
    assert "left out d2l of `pip install d2l torch`: d2l is convscope's own here" in answer.stderr


@pytest.mark.parametrize(
    "command",
    [
        "pip install d2l",
        " pip install -U d2l==1.0.3",
        "pip3 install 'd2l>=1.0' --quiet",
        'pip install "d2l == 0.17.6" D2L',
        "pip --quiet --proxy http://x install d2l",
        "python -m pip install d2l==1.0.3",
        "{sys.executable} -Im pip install --upgrade d2l",
        "$(which python) -m pip install d2l",
        "/opt/bin/pip3.11 install d2l",
        "PIP_QUIET=1 sudo -H pip install d2l",
        "uv pip install d2l",
        "python -m uv pip install d2l",
        "conda install -y -c conda-forge d2l",
        "pip install git+https://github.com/d2l-ai/d2l-zh@release  # installing d2l",
        "pip install -e git+https://github.com/d2l-ai/d2l-en",
        "pip install https://files.example/d2l-1.0.3-py3-none-any.whl",
        "pip install d2l -i https://mirror/simple",
        "pip install -qi https://mirror/simple d2l --trusted-host mirror -t there -c constraints.txt",
        "pip install d2l > /dev/null 2>&1",
        "(pip install d2l || pip install d2l==0.17.6)",
        "\npip install \\\n  d2l\n",
    ],
)
def test_a_command_that_installs_only_the_book_is_left_out(command):
    assert without_install(command) == ""


@pytest.mark.parametrize(
    ("command", "left"),
    [
        ("pip install d2l==1.0.3 pandas", "pip install pandas"),
        ("pip install -q torch d2l torchvision", "pip install -q torch torchvision"),
        ("pip install -i https://mirror/simple d2l pandas", "pip install -i https://mirror/simple pandas"),
        ("pip install d2l -r requirements.txt", "pip install -r requirements.txt"),
        ("pip install d2l torch > log && echo d2l", "pip install torch > log && echo d2l"),
        ("pip install --upgrade pip && pip install d2l==1.0.3", "pip install --upgrade pip && cd ."),
        ("pip install d2l==1.0.3; echo done", "cd .; echo done"),
        ("pip install d2l&&echo done", "cd .&&echo done"),
        ("pip install d2l 2>&1 | tail -1", "cd . | tail -1"),
        ("yes | pip install d2l", "yes | cd ."),
        ("if true; then pip install d2l # it\nfi", "if true; then cd .\nfi"),
    ],
)
def test_what_else_a_command_does_stays(command, left):
    assert without_install(command) == left


@pytest.mark.parametrize(
    "command",
    [
        "pip install d2lbook",
        "pip install git+https://github.com/d2l-ai/d2l-book",
        "pip install pandas",
        "pip install -c d2l pandas",
        "pip uninstall -y d2l",
        "pip download d2l",
        "echo pip install d2l",
        "echo 'x; pip install d2l'",
        "ls  # pip install d2l",
        "pip list",
        "cd d2l && ls 'unclosed",
        "",
    ],
)
def test_other_commands_stay_as_they_are(command):
    assert without_install(command) == command


def test_other_names_are_left_to_others():
    assert BookFinder().find_spec("d2lbook", None) is None
    deactivate()  # where nothing is active there is nothing to do


def test_limits_come_from_the_environment(monkeypatch):
    for name in Limits(1, 1).environment():
        monkeypatch.delenv(name, raising=False)
    assert not limits()
    assert limits().epochs(7) == 7
    for wanted in (Limits(max_epochs=2, images=300), Limits(images=5)):
        for name in Limits(1, 1).environment():
            monkeypatch.delenv(name, raising=False)
        for name, value in wanted.environment().items():
            monkeypatch.setenv(name, value)
        assert limits() == wanted


@pytest.mark.parametrize("text", ["0", "-3", "many", "1.5", "²"])
def test_a_limit_that_is_no_number_is_refused(text):
    with pytest.raises(ValueError, match=f"CONVSCOPE_LIMIT must be a whole number of at least 1, got '{text}'"):
        limits({"CONVSCOPE_LIMIT": text})
