"""Leaves out of a notebook's cells what would install the book's library over ours.

Cells spell commands in several ways: ``!pip``, ``%pip``, a bare ``pip install``, ``%%bash``. IPython makes calls of
all of them, so they are looked for in what it has made, where a string literal is a string literal.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from convscope.d2l.voice import say

_NOTHING = "cd ."  # a command that does nothing, in every shell
_SCRIPTS = ("!", "bash", "cmd", "script", "sh", "sx", "system", "zsh")  # magics whose cells are commands
_INSTALLERS = ("conda", "mamba", "micromamba", "pip", "uv")  # magics whose lines go on as the commands of these names
_THE_BOOK = re.compile(
    r"""d2l(?:\[[\w,\s-]*\])?\s*(?:[=<>!~@].*)?              # d2l, d2l==1.0.3, d2l @ https://...
      | (?:\S*/)?d2l-\d[^/\s]*\.(?:whl|zip|tar\.gz)          # a file of it
      | \S*[/:]d2l-(?!ai/|book\b|tvm\b)\S+                   # its sources""",
    re.VERBOSE | re.IGNORECASE,
)
_THING = r"(?:-[A-Za-z]*[er]|--(?:editable|requirement|file))"  # options whose next word is a thing to install
_VALUED = (  # options whose next word belongs to them
    r"(?:-[A-Za-z]*[cfinpt]|--(?:cache-dir|cert|channel|client-cert|config-settings|constraint|extra-index-url|"
    r"find-links|implementation|index-strategy|index-url|log|name|no-binary|only-binary|platform|prefix|progress-bar|"
    r"proxy|python|python-version|report|retries|root|src|target|timeout|trusted-host|upgrade-strategy))"
)
_SYNTAX = r"(?:!|\{|do|elif|else|if|then|time|until|while)"  # words of a shell's own, after which a command stands
_INSTALL = re.compile(  # the words of a command up to its first argument, each ended by a \0
    rf"""(?:(?:{_SYNTAX}|\w+=[^\0]*|command|exec|nohup|sudo|-[^\0]*)\0)*
    (?:[^\0]+\0(?:-[^\0]*\0)*-\w*m\0)?                       # python -m
    (?:(?:[^\0]*[/\\])?uv\0(?:-[^\0]*\0)*)?
    (?:[^\0]*[/\\])?(?:pip[\d.]*|conda|mamba|micromamba)(?:\.exe)?\0
    (?:(?:{_VALUED}\0[^\0]*|-[^\0]*)\0)*install\0""",
    re.VERBOSE,
)
_TOKEN = re.compile(
    r"""(?P<space>(?:[ \t]|\\\r?\n)+)
      | (?P<comment>\#[^\n]*)
      | (?P<redirect>(?:\d*(?:<<-?|>>|>\||<|>)|&>>?)(?:&[\d-]+|[ \t]*(?:'[^']*'|"[^"]*"|[^\s'"();&|<>])*))
      | (?P<end>&&|\|\||\|&|;;|[;&|\n()])
      | (?P<word>(?:'[^']*'|"(?:\\.|[^"\\])*"|`[^`]*`|\$\([^()]*\)|\{[^{}\s]*\}|\\.|[^\s'"();&|<>])+)
      | (?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)


class _Token(NamedTuple):
    kind: str
    text: str

    @property
    def bare(self) -> str:
        return re.sub(r"['\"]", "", self.text)


class WithoutInstall(ast.NodeTransformer):
    """For ``shell.ast_transformers``: changes the calls that would install the book's library, and lets them say so."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """A call as it is, a call of a shorter command, or in its place one that only tells what was left out."""
        self.generic_visit(node)
        match _asked_of_ipython(node):
            case ["system" | "getoutput" as method, command]:
                return _shorter(node, command, lambda rest: (method, rest))
            case ["run_line_magic" as method, "sx" | "system" as name, command]:
                return _shorter(node, command, lambda rest: (method, name, rest))
            case ["run_line_magic" as method, name, line] if name in _INSTALLERS:
                return _shorter(node, f"{name} {line}", lambda rest: _line(method, name, rest))
            case ["run_cell_magic" as method, name, line, body] if name in _SCRIPTS:
                return _shorter(node, body, lambda rest: (method, name, line, rest))
        return node


def _asked_of_ipython(node: ast.Call) -> list[str]:
    """Method and arguments of ``get_ipython().method("...", ...)``; empty for any other call."""
    match node.func:
        case ast.Attribute(value=ast.Call(func=ast.Name(id="get_ipython")), attr=method):
            texts = [part.value for part in node.args if isinstance(part, ast.Constant) and isinstance(part.value, str)]
            return [method, *texts] if len(texts) == len(node.args) and not node.keywords else []
    return []


def _line(method: str, name: str, rest: str) -> tuple[str, ...]:
    """The magic of an installer; where another command than the installer's begins the line, as the shell's line."""
    return (method, name, rest.removeprefix(f"{name} ")) if rest.startswith(f"{name} ") else ("system", rest)


def _shorter(node: ast.Call, command: str, asked: Callable[[str], tuple[str, ...]]) -> ast.AST:
    """A call of what is left of a command, after it was said what is not; only that, where nothing is left."""
    rest = without_install(command)
    if rest == command:
        return node
    told = f"__import__({__name__!r}, fromlist=['tell']).tell({command!r})"
    method, *arguments = asked(rest)
    call = f"get_ipython().{method}({', '.join(map(repr, arguments))})"
    made = ast.parse(f"({told}, {call})[1]" if rest else told, mode="eval").body
    for part in ast.walk(made):
        ast.copy_location(part, node)
    return made


def tell(command: str) -> None:
    """Say which commands were left out, or what of them."""
    for part in _commands(command):
        if (rest := _rest(part)) is not None:
            whole = "".join(token.text for token in part).strip()
            say(f"left out {f'd2l of `{whole}`' if rest else f'`{whole}`'}: d2l is convscope's own here")


def without_install(text: str) -> str:
    r"""Shell commands of which none installs the book's library; what else they do stays.

    Each command between ``&&``, ``||``, ``|``, ``;`` and line ends is taken by itself.

    Args:
        text: A line or a script of a shell.

    Returns:
        The commands; empty where nothing but such an install was asked for.

    Example:
        >>> without_install("pip install d2l==1.0.3 pandas")
        'pip install pandas'
        >>> without_install("pip install -U pip && pip install d2l -i https://mirror/simple | tail")
        'pip install -U pip && cd . | tail'
        >>> without_install("pip install d2l")
        ''
    """
    parts = _commands(text)
    if all(_rest(part) is None for part in parts):
        return text
    left = "".join(_put(part, _rest(part)) for part in parts)
    done = all(_rest(part) == [] or not any(t.kind in ("word", "other") for t in part) for part in parts)
    return "" if done else left


def _commands(text: str) -> list[list[_Token]]:
    """The tokens of a text, all of them, with a list for each command and each sign between two."""
    parts: list[list[_Token]] = [[]]
    for found in _TOKEN.finditer(text):
        token = _Token(str(found.lastgroup), found[0])
        if token.kind == "end":
            parts += [[token], []]
        else:
            parts[-1].append(token)
    return parts


def _rest(command: list[_Token]) -> list[_Token] | None:
    """A command without the book's library: None when it is not in it, empty when nothing is left to install."""
    words = [i for i, token in enumerate(command) if token.kind == "word"]
    begin = _INSTALL.match("".join(f"{command[i].bare}\0" for i in words))
    arguments = iter(words[begin[0].count("\0") :] if begin is not None else [])
    things, dropped = 0, set[int]()
    for i in arguments:
        word = command[i].bare
        named = re.fullmatch(_THING, word) is not None
        value = next(arguments, i) if named or re.fullmatch(_VALUED, word) else i
        if (named or value == i) and _THE_BOOK.fullmatch(command[value].bare):
            dropped |= {i, value}
        elif named or not word.startswith("-"):
            things += 1
    if not dropped:
        return None
    dropped |= {i - 1 for i in dropped}  # the space before it
    return [token for i, token in enumerate(command) if i not in dropped] if things else []


def _put(command: list[_Token], rest: list[_Token] | None) -> str:
    """The text of a command; where nothing is left to install, of one that does nothing in its place."""
    if rest == []:
        words = [i for i, token in enumerate(command) if token.kind == "word"]
        first = next(i for i in words if not re.fullmatch(_SYNTAX, command[i].text))
        after = command[-1:] if command[-1].kind == "space" else []
        rest = [*command[:first], _Token("word", _NOTHING), *after]
    return "".join(token.text for token in (command if rest is None else rest))


def add_to(shell: Any) -> None:
    """Let the cells of an IPython shell install no book; once more changes nothing."""
    if not any(isinstance(each, WithoutInstall) for each in shell.ast_transformers):
        shell.ast_transformers.append(WithoutInstall())


def remove_from(shell: Any) -> None:
    """Let the cells of an IPython shell install what they like."""
    shell.ast_transformers[:] = [each for each in shell.ast_transformers if not isinstance(each, WithoutInstall)]
