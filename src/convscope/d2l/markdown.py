"""The book's own files taken apart: markdown with code in fences and one tab for each framework.

A cell of code stands between a fence with ``{.python .input}`` and three backticks. A line ``%%tab mxnet, pytorch``
(``#@tab`` in older files) says for whom it is; a cell without one is for the first framework, PyTorch. Inside a cell
``if tab.selected('pytorch'):`` chooses as well, and so does ``a if tab.selected('pytorch') else b``. What is left here
is what a reader of the tab "pytorch" sees.

Source:
    Zhang, Lipton, Li and Smola, "Dive into Deep Learning"; the marks are those of its tool d2lbook.
"""

from __future__ import annotations

import ast
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

TAB = "pytorch"

_FENCE = re.compile(r"^```+\s*\{(?=[^}]*\.python\b)(?=[^}]*\.input\b)[^}]*\}")
_ANY_FENCE = re.compile(r"^\s*(```+)")
_CELL_TAB = re.compile(r"(?:%%|#\s*@)tab[ \t]+([\w, \t]+)")
_TEXT_TAB = re.compile(r"^:begin_tab:`([\w, ]+)`")
_CHOICE = re.compile(r"^(?P<indent>[ ]*)(?P<word>if|elif|else)\b(?P<test>[^:]*?):[ ]*(?P<rest>[^#\s].*)?")
_SELECTED = re.compile(r"\btab\.selected\(")
_EXTENSION = re.compile(r"^\s*%load_ext\s+d2lbook\.tab")
_MENU = re.compile(r"^\s*tab\.interact_select\s*\(")


@dataclass(frozen=True)
class Cell:
    """One cell of a notebook.

    Args:
        kind: Whether it is run or read.
        source: What stands in it.
        line: Where it begins in the file, counted from 1.
    """

    kind: Literal["code", "markdown"]
    source: str
    line: int


def cells(text: str, *, tab: str = TAB) -> list[Cell]:
    """The cells that a reader of one tab sees, in their order.

    Args:
        text: The whole file.
        tab: The framework.

    Raises:
        ValueError: A fence that is never closed; the message names its line.

    Example:
        >>> text = '''# Sums
        ... ```{.python .input}
        ... %%tab pytorch
        ... torch.ones(2).sum()
        ... ```
        ... ```{.python .input}
        ... %%tab jax
        ... jnp.ones(2).sum()
        ... ```
        ... '''
        >>> [(cell.kind, cell.source) for cell in cells(text)]
        [('markdown', '# Sums'), ('code', 'torch.ones(2).sum()')]
    """
    found = (_chosen(cell, tab) for cell in _split(text))
    return [cell for cell in found if cell.source.strip()]


def _split(text: str) -> list[Cell]:
    """All cells of all tabs, as they stand in the file."""
    parts: list[Cell] = []
    kept: list[str] = []
    kind: Literal["code", "markdown"] = "markdown"
    begin, quoted = 1, ""  # the marks of a fence that is only to be read, while inside it

    def close() -> None:
        parts.append(Cell(kind, "\n".join(kept).strip("\n"), begin))
        kept.clear()

    for number, line in enumerate(text.splitlines(), start=1):
        fence = _ANY_FENCE.match(line)
        if kind == "code" and line.rstrip() == "```":
            close()
            kind, begin = "markdown", number + 1
        elif kind == "markdown" and not quoted and _FENCE.match(line):
            close()
            kind, begin = "code", number
        else:
            kept.append(line)
            if kind == "markdown" and fence is not None:
                quoted = "" if quoted and fence[1] == quoted else quoted or fence[1]
    if kind == "code":
        raise ValueError(f"line {begin}: the code that begins here is never closed; expected a line of three backticks")
    close()
    return parts


def _chosen(cell: Cell, tab: str) -> Cell:
    """A cell as one tab shows it; empty when it is for others, or is only about tabs."""
    if cell.kind == "markdown":
        return Cell(cell.kind, _text(cell.source, tab), cell.line)
    tabs = _CELL_TAB.search(cell.source)  # anywhere, also in a comment: so the book's tool reads it
    named = {name.strip() for name in tabs[1].split(",")} if tabs is not None else {TAB}
    if tab not in named and "all" not in named:
        return Cell(cell.kind, "", cell.line)
    lines = _without_machinery([line for line in cell.source.splitlines() if not _CELL_TAB.search(line)])
    if any(_SELECTED.search(line) for line in lines):  # what is moved left is counted in spaces
        lines = [_indented_by_spaces(line) for line in lines]
    return Cell(cell.kind, _answered("\n".join(flatten(lines, tab)), tab).strip("\n"), cell.line)


def _without_machinery(lines: list[str]) -> list[str]:
    """Lines of code without those that only show the tabs in a notebook."""
    kept: list[str] = []
    i = 0
    while i < len(lines):
        if _MENU.match(lines[i]):
            i += _statement_length(lines[i:])
        else:
            kept += [] if _EXTENSION.match(lines[i]) else [lines[i]]
            i += 1
    return kept


def _statement_length(lines: list[str]) -> int:
    """How many lines the statement takes that begins the first; one, if it never ends."""
    ends = (token.start[0] for token in _tokens("\n".join(lines)) if token.type == tokenize.NEWLINE)
    return next(ends, 1)


def _tokens(source: str) -> Iterator[tokenize.TokenInfo]:
    """Python's tokens, as far as the code has any: it may have lines for IPython."""
    lines = iter(source.splitlines(keepends=True))
    try:
        yield from tokenize.generate_tokens(lambda: next(lines, ""))
    except (tokenize.TokenError, SyntaxError):
        return


def _text(source: str, tab: str) -> str:
    """Prose without the passages that are for other tabs."""
    kept, shown = [], True
    for line in source.splitlines():
        begin = _TEXT_TAB.match(line)
        if begin is not None:
            shown = tab in {name.strip() for name in begin[1].split(",")} or begin[1].strip() == "all"
        elif line.startswith(":end_tab:"):
            shown = True
        elif shown:
            kept.append(line)
    return "\n".join(kept).strip("\n")


def flatten(lines: list[str], tab: str = TAB) -> list[str]:
    """Lines of code in which every ``if tab.selected(...)`` has been decided, also inside one another.

    Example:
        >>> flatten(["if tab.selected('mxnet'):", "    a = 1", "else:", "    a = 2", "a"])
        ['a = 2', 'a']
    """
    done: list[str] = []
    i = 0
    while i < len(lines):
        if _is_choice(lines[i], "if"):
            taken, end = _branch(lines, i, tab)
            done += flatten(taken, tab) or _placeholder(done, lines, i, end)
            i = end
        else:
            done.append(lines[i])
            i += 1
    return done


def _is_choice(line: str, word: str) -> bool:
    found = _CHOICE.match(line)
    return found is not None and found["word"] == word and _SELECTED.search(found["test"]) is not None


def _branch(lines: list[str], start: int, tab: str) -> tuple[list[str], int]:
    """The lines, moved left, of the first branch that is for the tab, and where the whole choice ends."""
    indent = _indent(lines[start])
    taken: list[str] | None = None
    i = start
    while i < len(lines):
        head = _CHOICE.match(lines[i])
        if head is None or len(head["indent"]) != indent or (head["word"] == "if") != (i == start):
            break
        end = _body_end(lines, i + 1, indent)
        if taken is None and _is_for(head["test"], tab, lines[i]):
            rest = [" " * indent + head["rest"]] if head["rest"] else []
            taken = rest + _moved_left(lines[i + 1 : end], indent)
        i = end
    return taken or [], i


def _answered(source: str, tab: str) -> str:
    """Code in which each ``tab.selected(...)`` that stands in an expression is its value."""
    if not _SELECTED.search(source):
        return source
    begins = [0]
    for line in source.splitlines(keepends=True):
        begins.append(begins[-1] + len(line))
    places = [(begins[row - 1] + column, begins[last - 1] + end) for (row, column), (last, end) in _questions(source)]
    for start, end in reversed(places):  # from the end, so that the places before stay where they are
        asked = source[start:end]
        source = f"{source[:start]}{_is_for(asked, tab, asked)}{source[end:]}"
    return source


def _questions(source: str) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Where each ``tab.selected(...)`` begins and ends, as (row from 1, column from 0); not in strings and comments."""
    tokens = list(_tokens(source))
    words = [token.string for token in tokens]
    for i, token in enumerate(tokens):
        if words[i : i + 4] == ["tab", ".", "selected", "("]:
            depth = 0
            for closing in tokens[i + 3 :]:
                depth += (closing.string in ("(", "[", "{")) - (closing.string in (")", "]", "}"))
                if not depth:
                    yield token.start, closing.end
                    break


def _is_for(test: str, tab: str, line: str) -> bool:
    if not test.strip():
        return True  # else
    try:
        return _decided(ast.parse(test.strip(), mode="eval").body, tab)
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"expected nothing but tab.selected(...) in a choice of tabs, got: {line.strip()}") from error


def _decided(test: ast.expr, tab: str) -> bool:
    """The value of a test that is made of ``tab.selected(...)``, ``not``, ``and`` and ``or``."""
    match test:
        case ast.BoolOp(op=ast.Or()):
            return any(_decided(part, tab) for part in test.values)
        case ast.BoolOp(op=ast.And()):
            return all(_decided(part, tab) for part in test.values)
        case ast.UnaryOp(op=ast.Not()):
            return not _decided(test.operand, tab)
        case ast.Call(func=ast.Attribute(value=ast.Name(id="tab"), attr="selected"), keywords=[]):
            names = [ast.literal_eval(argument) for argument in test.args]
            return any(tab == name or (isinstance(name, list | tuple) and tab in name) for name in names)
        case _:
            raise ValueError("something else")


def _body_end(lines: list[str], start: int, indent: int) -> int:
    """Where the lines end that stand deeper; empty lines at the end belong to what follows."""
    end = start
    for i in range(start, len(lines)):
        if lines[i].strip():
            if _indent(lines[i]) <= indent:
                break
            end = i + 1
    return end


def _moved_left(body: list[str], indent: int) -> list[str]:
    deeper = min((_indent(line) for line in body if line.strip()), default=indent) - indent
    return [line[deeper:] if not line[:deeper].strip() else line for line in body]


def _indented_by_spaces(line: str) -> str:
    """A line whose indentation has no tabs; they lead to the next multiple of eight, as Python reads them."""
    text = line.lstrip(" \t")
    return line[: len(line) - len(text)].expandtabs(8) + text


def _placeholder(done: list[str], lines: list[str], start: int, end: int) -> list[str]:
    """``pass``, where nothing else is left of a function or a loop."""
    before = next((line for line in reversed(done) if line.strip()), "")
    after = next((line for line in lines[end:] if line.strip()), "")
    indent = _indent(lines[start])
    alone = before.rstrip().endswith(":") and _indent(before) < indent and (not after or _indent(after) < indent)
    return [" " * indent + "pass"] if alone else []


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))
