"""How a summary looks: in a terminal, in Markdown, in HTML."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, Literal

from convscope.measure.rows import Row
from convscope.naming import natural_key, unknown_name

if TYPE_CHECKING:
    from rich.console import Group

    from convscope.measure.summary import Summary

DEFINITIONS = {
    "macs": "multiplications with their additions, in convolutions and matrix products only, for the whole batch",
    "flops": "2 x MACs: the multiplications and the additions of these, each counted",
    "inference": "the most bytes of activations alive at once, each freed after its last use; no parameters",
    "training": "bytes of activations that autograd keeps for the backward pass; no parameters",
    "receptive_field": "pixels that one unit sees along H and W, padding as if the image went on",
}


def count(value: int) -> str:
    """A large number in four digits.

    Example:
        >>> count(416520), count(11_689_512), count(0)
        ('416.5 K', '11.69 M', '0')
    """
    for size, unit in ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "K")):
        if value >= size:
            digits = 2 if value < 100 * size else 1
            return f"{value / size:.{digits}f} {unit}"
    return str(value)


def size(value: int | None) -> str:
    """Bytes, in decimal units.

    Example:
        >>> size(37632), size(None)
        ('37.6 kB', '-')
    """
    if value is None:
        return "-"
    for unit, of in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if value >= of:
            return f"{value / of:.1f} {unit}"
    return f"{value} B"


def _both(values: Sequence[Any]) -> str:
    """One word for two axes where they agree."""
    return str(values[0]) if values[0] == values[1] else f"{values[0]}x{values[1]}"


def _field(row: Row) -> str:
    if row.field is None:
        return ""
    parts = ["all" if whole else str(n) for n, whole in zip(row.field.size, row.field.whole, strict=True)]
    return _both(parts) + ("*" if row.field.misaligned else "")


def _about_field(name: Literal["jump", "padding"]) -> Callable[[Row], str]:
    def text(row: Row) -> str:
        return "" if row.field is None or all(row.field.whole) else _both(getattr(row.field, name))

    return text


def _shape(row: Row) -> str:
    return " ".join("x".join(map(str, shape[1:])) or "-" for shape in row.outputs)


@dataclass(frozen=True)
class Column:
    """One column of a summary.

    Args:
        title: Its head.
        text: A row's cell, rounded for reading.
        plain_names: What it is called where numbers are exact; some columns are several there.
        plain: A row's exact values.
        right: Whether cells are aligned at their end.
    """

    title: str
    text: Callable[[Row], str]
    plain_names: tuple[str, ...]
    plain: Callable[[Row], tuple[Any, ...]]
    right: bool = True

    def rank(self, row: Row) -> tuple[Any, ...]:
        """For sorting; in words, numbers count as numbers."""
        if not self.right:
            return tuple(natural_key(self.plain(row)[0]))
        return tuple(-1 if value is None or value == "" else value for value in self.plain(row))


def _axes(name: str) -> Callable[[Row], tuple[Any, ...]]:
    return lambda row: tuple(row.field.to_dict()[name]) if row.field else ("", "")


def _numbers(title: str, name: str, text: Callable[[Any], str]) -> Column:
    """A column of one attribute."""
    return Column(title, lambda row: text(getattr(row, name)), (name,), lambda row: (getattr(row, name),))


def _words(title: str, name: str, text: Callable[[Row], str], exact: Callable[[Row], str]) -> Column:
    """A column of text."""
    return Column(title, text, (name,), lambda row: (exact(row),), right=False)


def _full_shapes(row: Row) -> str:
    return " ".join("x".join(map(str, shape)) for shape in row.outputs)


def _all_of_field(row: Row) -> tuple[Any, ...]:
    return *_axes("size")(row), *_axes("whole")(row), row.field.misaligned if row.field else ""


COLUMNS: dict[str, Column] = {
    "layer": _words("layer", "path", lambda r: "  " * (r.depth - 1) + r.path.rpartition(".")[2], lambda r: r.path),
    "type": _words("type", "type", lambda r: r.kind, lambda r: r.kind),
    "output": _words("output", "output_shapes", _shape, _full_shapes),
    "calls": _numbers("calls", "calls", str),
    "parameters": Column(
        "parameters",
        lambda r: f"{r.parameters:,}" + ("+" if r.shared else ""),
        ("parameters",),
        lambda r: (r.parameters,),
    ),
    "trainable": _numbers("trainable", "trainable", "{:,}".format),
    "frozen": _numbers("frozen", "frozen", "{:,}".format),
    "shared": _numbers("shared", "shared", "{:,}".format),
    "macs": _numbers("MACs", "macs", count),
    "flops": _numbers("FLOPs", "flops", count),
    "inference": _numbers("inference", "inference_bytes", size),
    "training": _numbers("training", "training_bytes", size),
    "field": Column("sees", _field, ("field_h", "field_w", "whole_h", "whole_w", "misaligned"), _all_of_field),
    "jump": Column("jump", _about_field("jump"), ("jump_h", "jump_w"), _axes("jump")),
    "padding": Column("pad", _about_field("padding"), ("padding_h", "padding_w"), _axes("padding")),
}
"""By the name that ``columns`` and ``sort`` take."""

NARROW = ("layer", "output", "parameters", "macs", "field")
MEDIUM = ("layer", "type", "output", "parameters", "macs", "field", "jump")
WIDE = ("layer", "type", "output", "parameters", "macs", "flops", "inference", "training", "field", "jump", "padding")


def column(name: str) -> Column:
    """The column of this name.

    Raises:
        ValueError: There is none; the message lists all.
    """
    if name not in COLUMNS:
        raise ValueError(f"{unknown_name('column', name, COLUMNS)} The columns are: {', '.join(COLUMNS)}")
    return COLUMNS[name]


def chosen(columns: Sequence[str] | None, rows: Sequence[Row], *, width: int | None = None) -> tuple[str, ...]:
    """The columns to show: those asked for, or as many as fit.

    Raises:
        ValueError: No such column.
    """
    for name in columns or ():
        column(name)
    if columns:
        return tuple(columns)
    if width is None:
        return WIDE
    for names in (WIDE, MEDIUM):
        needed = sum(
            3 + max([len(COLUMNS[name].title), *(len(COLUMNS[name].text(row)) for row in rows)]) for name in names
        )
        if needed <= width:
            return names
    return NARROW


def _plain(operator: str) -> str:
    """An operator's name without what only PyTorch cares about."""
    return operator.strip("_").removeprefix("native_").removesuffix("_with_indices")


def totals(summary: Summary) -> list[str]:
    """What stands below the table."""
    total, end = summary.total, summary.field_end
    n, _, height, width = summary.input_size
    images = "1 image" if n == 1 else f"{n} images"
    frozen = f", of which {total.frozen:,} frozen" if total.frozen else ""
    lines = [
        f"parameters {total.parameters:,} ({size(summary.parameter_bytes)}){frozen}",
        f"arithmetic {count(total.macs)} MACs, {count(total.flops)} FLOPs for {images}",
        f"activations {size(total.inference_bytes)} in inference, {size(total.training_bytes)} in training, "
        f"for {images}",
    ]
    if end and end.field:
        more = "; after it, units see everything" if summary.total.field and all(summary.total.field.whole) else ""
        lines.append(f"sees {_both(end.field.size)} pixels of {height}x{width} at {end.path}{more}")
    if any(row.field and row.field.misaligned for row in summary.rows):
        lines.append("* branches meet here whose units do not look at the same place")
    if any(row.shared for row in summary.rows):
        lines.append("+ shares parameters with a row above; the total has them once")
    lines.append("1 MAC = a multiplication with its addition, in convolutions and matrix products; FLOPs = 2 x MACs")
    if summary.uncounted:
        named = ", ".join(f"{_plain(each.operator)} {each.calls}x" for each in summary.uncounted[:6])
        rest = len(summary.uncounted) - 6
        lines.append(f"not counted: {named}" + (f" and {rest} more" if rest > 0 else ""))
    return lines + [f"note: {note}" for note in summary.notes]


def rich(summary: Summary, columns: Sequence[str]) -> Group:
    """For a terminal."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="dim", padding=(0, 1), pad_edge=False)
    for name in columns:
        column = COLUMNS[name]
        justify: Literal["left", "right"] = "right" if column.right else "left"
        table.add_column(column.title, justify=justify, no_wrap=True, overflow="ellipsis", min_width=4)
    for row in summary.rows:
        style = "bold" if row.depth == 1 else ""
        table.add_row(*(Text(COLUMNS[name].text(row)) for name in columns), style=style)
    if not summary.rows:
        table.add_row(
            *(Text(summary.model if name == "layer" else COLUMNS[name].text(summary.total)) for name in columns)
        )
    title = Text(f"{summary.model} on {'x'.join(map(str, summary.input_size))}", style="bold")
    return Group(title, Text(), table, Text(), *(Text(line) for line in totals(summary)))


def markdown(summary: Summary, columns: Sequence[str]) -> str:
    """A pipe table."""
    heads = [COLUMNS[name].title for name in columns]
    rules = ["---:" if COLUMNS[name].right else "---" for name in columns]
    lines = [f"| {' | '.join(heads)} |", f"| {' | '.join(rules)} |"]
    for row in summary.rows or (summary.total,):
        cells = [_literal(row, name).replace("|", "\\|") for name in columns]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", *(f"- {line}" for line in totals(summary))]) + "\n"


def _literal(row: Row, name: str) -> str:
    """A cell outside a terminal, where indentation is lost."""
    text = row.path if name == "layer" else COLUMNS[name].text(row)
    return text.replace("*", "\\*") if name == "field" else text


def html(summary: Summary, columns: Sequence[str]) -> str:
    """A table that takes the style of its page."""
    heads = "".join(f"<th>{escape(COLUMNS[name].title)}</th>" for name in columns)
    lines = []
    for row in summary.rows or (summary.total,):
        cells = "".join(
            f"<td{' align=right' if COLUMNS[name].right else ''}>"
            f"{escape(row.path if name == 'layer' else COLUMNS[name].text(row))}</td>"
            for name in columns
        )
        lines.append(f"<tr>{cells}</tr>")
    below = "".join(f"<li>{escape(line)}</li>" for line in totals(summary))
    return (
        f"<table>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n"
        + "\n".join(lines)
        + f"\n</tbody>\n</table>\n<ul>{below}</ul>\n"
    )
