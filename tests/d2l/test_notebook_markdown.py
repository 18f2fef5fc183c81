"""The book's markdown form: fences, tabs, choices. Pages are written here in its form, none is the book's."""

import ast
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convscope.d2l.markdown import cells, flatten

PAGE = textwrap.dedent('''
    ```{.python .input}
    %load_ext d2lbook.tab
    tab.interact_select(['mxnet', 'pytorch', 'jax'])
    ```

    # A page
    :label:`sec_page`

    Some prose with `code`.

    ```{.python .input  n=7}
    %%tab mxnet
    from d2l import mxnet as d2l
    ```

    ```{.python .input  n=8}
    %%tab pytorch, mxnet
    from d2l import torch as d2l
    ```

    :begin_tab:`mxnet`
    For the others.
    :end_tab:

    :begin_tab:`pytorch, jax`
    For us.
    :end_tab:

    ```{.python .input}
    #@tab all
    #@save
    def twice(x):
        """Two of them."""
        return 2 * x
    ```

    ```{.python .input}
    # %%tab jax
    # a cell whose mark stands in a comment
    twice(jax)
    ```

    ```{.python .input}
    %%tab jax
    twice(2)
    ```

    ```python
    quoted = "to be read, not to be run"
    ```

    ```{.python .input}
    twice(1)
    ```

    ```toc
    page
    ```
''')


def code(text: str, **arguments: str) -> list[str]:
    return [cell.source for cell in cells(text, **arguments) if cell.kind == "code"]


def test_a_page_as_a_reader_of_pytorch_sees_it():
    assert code(PAGE) == [
        "from d2l import torch as d2l",
        '#@save\ndef twice(x):\n    """Two of them."""\n    return 2 * x',
        "twice(1)",  # without a mark it is for the first framework
    ]
    prose = "\n".join(cell.source for cell in cells(PAGE) if cell.kind == "markdown")
    assert "# A page" in prose
    assert "For us." in prose
    assert 'quoted = "to be read, not to be run"' in prose
    assert "For the others." not in prose
    assert "begin_tab" not in prose


def test_a_page_as_another_reader_sees_it():
    assert code(PAGE, tab="jax") == [
        '#@save\ndef twice(x):\n    """Two of them."""\n    return 2 * x',
        "# a cell whose mark stands in a comment\ntwice(jax)",
        "twice(2)",
    ]


def test_cells_know_their_lines():
    lines = PAGE.splitlines()
    for cell in cells(PAGE):
        if cell.kind == "code":
            assert lines[cell.line - 1].startswith("```{.python .input")


def test_a_fence_that_is_never_closed_is_named():
    with pytest.raises(ValueError, match="line 3: the code that begins here is never closed"):
        cells("# A\n\n```{.python .input}\nx = 1\n")


@pytest.mark.parametrize("fence", ["```{.python .input}", "```{.python .input  n=12}", "``` {.python .input #name}"])
def test_forms_of_the_fence(fence):
    assert code(f"{fence}\nx = 1\n```\n") == ["x = 1"]


def test_tabs_indent_as_python_reads_them():
    choice = (
        "def f():\n\tif tab.selected('jax'):\n\t\treturn 1\n\tif tab.selected('pytorch'):\n"
        "\t\tx = '\t'\n        \treturn x"
    )
    assert code(f"```{{.python .input}}\n{choice}\n```\n```{{.python .input}}\nif x:\n\ty\n```\n") == [
        "def f():\n        x = '\t'\n        return x",
        "if x:\n\ty",  # where nothing is chosen, nothing is changed
    ]


def test_a_fence_inside_quoted_text_is_text():
    page = "````md\n```{.python .input}\nx = 1\n```\n````\n\n```{.python .input}\ny = 1\n```\n"
    assert code(page) == ["y = 1"]


@pytest.mark.parametrize(
    ("given", "left"),
    [
        ("if tab.selected('pytorch'):\n    a = 1", "a = 1"),
        ("if tab.selected('mxnet'):\n    a = 1\nb = 2", "b = 2"),
        ('if tab.selected("mxnet", "pytorch"):\n    a = 1', "a = 1"),
        ("if tab.selected(['mxnet', 'pytorch']):\n    a = 1", "a = 1"),
        ("if tab.selected('pytorch'): a = 1\nif tab.selected('jax'): a = 2", "a = 1"),
        ("if not tab.selected('pytorch'):\n    a = 1\nelse:\n    a = 2", "a = 2"),
        ("if tab.selected('jax'):\n    a = 1\nelif tab.selected('pytorch'):\n    a = 2\nelse:\n    a = 3", "a = 2"),
        ("if tab.selected('jax'):\n    a = 1\nelif tab.selected('mxnet'):\n    a = 2\nelse:\n    a = 3", "a = 3"),
        ("if tab.selected('mxnet') or tab.selected('pytorch'):  # both\n    a = 1", "a = 1"),
        ("if tab.selected('mxnet') or (not tab.selected('pytorch')):\n    a = 1\nb", "b"),
        ("if tab.selected('pytorch') and not tab.selected('mxnet'):\n    a = 1", "a = 1"),
        ("if tab.selected('jax') and backend_is_new:\n    a = 1\nb", "b"),  # nothing that is not ours is looked at
        ("if x:\n    a = 1\nelse:\n    a = 2", "if x:\n    a = 1\nelse:\n    a = 2"),
        (
            "def f():\n    if tab.selected('mxnet'):\n        return 1\n    if tab.selected('pytorch'):\n"
            "        if tab.selected('pytorch'):\n            a = (2,\n                 3)\n\n        return a\n\nf()",
            "def f():\n    a = (2,\n         3)\n\n    return a\n\nf()",
        ),
        (
            "class A:\n    def f(self):\n        if tab.selected('mxnet'):\n            return 1\n\n    def g(self):\n"
            "        return 2",
            "class A:\n    def f(self):\n        pass\n\n    def g(self):\n        return 2",
        ),
        ("for i in x:\n    if tab.selected('jax'):\n        i\n    print(i)", "for i in x:\n    print(i)"),
        ("if x:\n    if tab.selected('jax'):\n        a\nelse:\n    b", "if x:\n    pass\nelse:\n    b"),
    ],
)
def test_choices_are_decided(given, left):
    assert "\n".join(flatten(given.splitlines())) == left
    ast.parse(left)


@pytest.mark.parametrize(
    "line", ["elif x:", "elif tab.selected('pytorch') and x:", "elif tab.chosen('jax'):", "elif x y:"]
)
def test_a_choice_that_is_not_only_about_tabs_is_refused(line):
    with pytest.raises(ValueError, match=r"expected nothing but tab\.selected") as refused:
        flatten(["if tab.selected('jax'):", "    a", line, "    b"])
    assert str(refused.value).endswith(f"got: {line}")


@pytest.mark.parametrize(
    ("given", "left"),
    [
        ("%load_ext d2lbook.tab\ntab.interact_select(\n    ['mxnet',\n     'pytorch'])\nx = 1", "x = 1"),
        ("tab.interact_select(  # )\n    'mxnet', ')',\n)\n\n%time x", "%time x"),
        ("tab.interact_select('mxnet', 'pytorch')", None),
        ("x = 1 if tab.selected('pytorch') else 2", "x = 1 if True else 2"),
        ("f(tab.selected('jax'), not tab.selected(['pytorch',\n 'jax']))\n%time g()", "f(False, not True)\n%time g()"),
        ("# tab.selected('jax')\nx = \"tab.selected('jax')\"", "# tab.selected('jax')\nx = \"tab.selected('jax')\""),
    ],
)
def test_what_is_about_tabs_is_gone_or_answered(given, left):
    assert code(f"```{{.python .input}}\n{given}\n```\n") == ([] if left is None else [left])


def test_a_question_about_tabs_that_only_a_running_program_could_answer_is_refused():
    with pytest.raises(ValueError, match=r"expected nothing but tab\.selected.* got: tab\.selected\(name\)"):
        cells("```{.python .input}\nx = tab.selected(name)\n```\n")


TABS = ("pytorch", "mxnet", "jax", "tensorflow")


@st.composite
def programs(draw, depth=0):
    """Lines of a program with choices inside choices, written from the definition: ``log`` tells what ran."""
    lines = []
    for number in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(["call", "if", "def"] if depth < 3 else ["call"]))
        name = f"{depth}{number}{draw(st.integers(0, 99))}"
        if kind == "call":
            lines.append(f"log({name!r})")
            continue
        inside = ["    " + line for line in draw(programs(depth + 1))]
        if kind == "def":
            lines += [f"def f{name}():", *inside, f"f{name}()"]
        else:
            tests = []
            for _ in range(draw(st.integers(1, 2))):
                chosen = ", ".join(map(repr, draw(st.lists(st.sampled_from(TABS), min_size=1, max_size=3))))
                tests.append(f"{draw(st.sampled_from(['', 'not ']))}tab.selected({chosen})")
            lines += [f"if {draw(st.sampled_from([' or ', ' and '])).join(tests)}:", *inside]
            if draw(st.booleans()):
                lines += ["else:", *("    " + line for line in draw(programs(depth + 1)))]
    return lines


class Tab:
    """What the book's tool offers a running cell; the definition of what a choice means."""

    def __init__(self, name: str) -> None:
        self.name = name

    def selected(self, *names: str) -> bool:
        return self.name in names


@given(programs(), st.sampled_from(TABS))
def test_what_is_left_does_what_the_whole_would_have_done(lines, tab):
    asked, done = [], []
    exec("\n".join(lines), {"log": asked.append, "tab": Tab(tab)})
    left = flatten(lines, tab)
    exec("\n".join(left), {"log": done.append})
    assert done == asked
    assert not any("tab.selected" in line for line in left)
