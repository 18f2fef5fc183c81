"""The summary of a network: one row for each module, totals, and what was not counted."""

from __future__ import annotations

import csv
import io
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from convscope.measure import tables
from convscope.measure.costs import Uncounted, uncounted
from convscope.measure.rows import Row, make_rows
from convscope.measure.tables import COLUMNS
from convscope.measure.tracing import Trace, trace_and_kept

if TYPE_CHECKING:
    from rich.console import Group


@dataclass(frozen=True)
class Summary:
    """What a network is made of and what it costs.

    Args:
        model: What it is called.
        input_size: ``(N, C, H, W)`` that it was given; arithmetic and memory are of this whole batch.
        device: Where it ran; ``"meta"`` means that only shapes were computed.
        rows: Every module below the network, in the order they ran.
        total: The network itself.
        parameter_bytes: Memory of all parameters.
        uncounted: Operators that compute something and have no MACs.
        notes: What a reader must know to judge the numbers.

    Example:
        >>> lenet = nn.Sequential(nn.Conv2d(1, 6, 5, padding=2), nn.Sigmoid(), nn.AvgPool2d(2))
        >>> result = summary(lenet, (1, 28, 28))
        >>> [(row.kind, row.outputs[0][1:], row.macs, row.field.size[0]) for row in result.rows]
        [('Conv2d', (6, 28, 28), 117600, 5), ('Sigmoid', (6, 28, 28), 0, 5), ('AvgPool2d', (6, 14, 14), 0, 6)]
        >>> result.total.parameters, result.total.flops
        (156, 235200)
    """

    model: str
    input_size: tuple[int, ...]
    device: str
    rows: tuple[Row, ...]
    total: Row
    parameter_bytes: int
    uncounted: tuple[Uncounted, ...]
    notes: tuple[str, ...]

    @property
    def field_end(self) -> Row | None:
        """The last layer whose units still see a part of the image: the one before a global average, mostly."""
        local = [(row.field.size, len(row.outputs[0]) > 2, -row.depth, i)
                 for i, row in enumerate(self.rows) if row.field and not all(row.field.whole)]  # fmt: skip
        return self.rows[max(local)[-1]] if local else None

    def select(self, *, depth: int | None = None, sort: str | None = None) -> Summary:
        """The same with fewer rows or in another order; the totals stay.

        Args:
            depth: How deep in the tree of modules; 1 shows the network's own children.
            sort: A column: numbers the largest first, words from A to Z; None keeps the order in which they ran.

        Raises:
            ValueError: ``depth`` is below 1, or no such column.
        """
        if depth is not None and depth < 1:
            raise ValueError(f"--depth must be at least 1, got {depth}")
        rows = [row for row in self.rows if depth is None or row.depth <= depth]
        if sort is not None:
            by = tables.column(sort)
            rows.sort(key=by.rank, reverse=by.right)
        return replace(self, rows=tuple(rows))

    def to_dict(self) -> dict[str, Any]:
        """Plain values: totals at the top, then what they mean, then the rows."""
        end = self.field_end
        return {
            "model": self.model,
            "input_size": list(self.input_size),
            "parameters": self.total.parameters,
            "trainable": self.total.trainable,
            "frozen": self.total.frozen,
            "parameter_bytes": self.parameter_bytes,
            "macs": self.total.macs,
            "flops": self.total.flops,
            "inference_bytes": self.total.inference_bytes,
            "training_bytes": self.total.training_bytes,
            "receptive_field": end.field.to_dict() | {"at": end.path} if end and end.field else None,
            "definitions": tables.DEFINITIONS,
            "not_counted": [vars(each) for each in self.uncounted],
            "device": self.device,
            "notes": list(self.notes),
            "rows": [row.to_dict() for row in self.rows],
        }

    def to_json(self) -> str:
        """``to_dict`` as indented JSON."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False)

    def to_csv(self, columns: Sequence[str] | None = None) -> str:
        """Exact numbers with a line of column names, the network itself last."""
        chosen = tables.chosen(columns, self.rows)
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(name for column in chosen for name in COLUMNS[column].plain_names)
        for row in (*self.rows, self.total):
            writer.writerow(value for column in chosen for value in COLUMNS[column].plain(row))
        return text.getvalue()

    def to_markdown(self, columns: Sequence[str] | None = None) -> str:
        """A pipe table and the totals below it."""
        return tables.markdown(self, tables.chosen(columns, self.rows))

    def to_html(self, columns: Sequence[str] | None = None) -> str:
        """A ``<table>`` and the totals, with no style of their own."""
        return tables.html(self, tables.chosen(columns, self.rows))

    def to_table(self, width: int = 140, columns: Sequence[str] | None = None) -> Group:
        """For a terminal of this many characters; a narrow one gets fewer columns."""
        return tables.rich(self, tables.chosen(columns, self.rows, width=width))

    def layer_summary(self) -> str:
        """The book's form, a line for each child of the network: its class and the shape of its output.

        A child that is nothing but a chain of layers is shown layer by layer.
        """
        shown = [row for row in self.rows if row.depth == 1 and row.outputs]
        if len(shown) == 1 and shown[0].kind == "Sequential":  # the book's networks keep everything in ``net``
            shown = [row for row in self.rows if row.depth == 2 and row.outputs]
        else:
            shown = [each for row in shown for each in self._plain_chain(row)]
        return "\n".join(f"{row.kind} output shape:\t {torch.Size(row.outputs[0])}" for row in shown or [self.total])

    def _plain_chain(self, row: Row) -> list[Row]:
        """The layers of a ``Sequential`` that holds nothing but layers; else the row itself."""
        inside = [each for each in self.rows if each.path.startswith(f"{row.path}.") and each.outputs]
        plain = row.kind == "Sequential" and inside and all(each.depth == row.depth + 1 for each in inside)
        return inside if plain else [row]


def summary(model: nn.Module, input_size: Sequence[int], *, training: bool = True, name: str | None = None) -> Summary:
    """What a network is made of, costs and sees. The network is left as it was, bit for bit.

    Args:
        model: Any module that takes one batch of images; it is run in eval mode. Lazy layers are made real on a copy.
        input_size: ``(C, H, W)`` in pixels, or ``(N, C, H, W)``; without ``N`` it is one image.
        training: Measure what autograd keeps, too: this runs the network a second time, in training mode.
        name: What to call it. Default: its class.

    Raises:
        TypeError: ``model`` is no module, or ``input_size`` holds other than whole numbers.
        ValueError: The network refuses images of this size; the message names the layer and sizes that would work.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be an nn.Module, got {type(model).__name__}; call the class to make one")
    seen, kept = trace_and_kept(model, input_size, training=training)
    rows, costs, fields = make_rows(seen, kept.bytes)
    notes = [*seen.notes, *([kept.note] if kept.note else [])]
    if fields.unknown:
        notes.append(
            f"operators that are said to see everything, because they are not known: {', '.join(fields.unknown)}"
        )
    notes.extend(_about_parameters(model, seen))
    return Summary(
        model=name or seen.model,
        input_size=seen.input_size,
        device=seen.device,
        rows=rows[1:],
        total=rows[0],
        parameter_bytes=sum(p.bytes for p in seen.parameters.values()),
        uncounted=uncounted(seen, costs),
        notes=tuple(notes),
    )


def _about_parameters(model: nn.Module, seen: Trace) -> list[str]:
    if not seen.parameters:
        return ["the network has no parameters: there is nothing to train"]
    notes = []
    broken = not_numbers(model)
    if broken:
        more = f" and {len(broken) - 3} more" if len(broken) > 3 else ""
        notes.append(
            f"weights that hold NaN: {', '.join(broken[:3])}{more}; shapes and costs are right, scores are not"
        )
    unused = [path for path, facts in seen.modules.items()
              if path and facts.parameters and path not in seen.last_calls
              and not any(v.state and v.state.startswith(f"{path}.") for v in seen.values)]  # fmt: skip
    if unused:
        notes.append(f"modules with parameters that did not run: {', '.join(unused[:5])}{' ...' if unused[5:] else ''}")
    return notes


def not_numbers(model: nn.Module) -> list[str]:
    """Names of the parameters and buffers that hold NaN."""
    named: dict[object, dict[str, Tensor]] = defaultdict(dict)
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if not nn.parameter.is_lazy(tensor) and not tensor.is_meta and tensor.is_floating_point():
            named[tensor.device, tensor.dtype][name] = tensor
    found = []
    with torch.no_grad():
        for tensors in named.values():
            sums = torch.stack([tensor.sum() for tensor in tensors.values()])
            for (name, tensor), suspect in zip(tensors.items(), sums.isnan().tolist(), strict=True):
                if suspect and bool(tensor.isnan().any()):  # the sum of two infinities is NaN, too
                    found.append(name)
    return found
