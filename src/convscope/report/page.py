"""The report of a run: one page that needs nothing else, and its figures as files."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from string import Template

import torch
from torch import nn

from convscope import __version__
from convscope.data import Dataset
from convscope.errors import RunError
from convscope.files import write_bytes
from convscope.measure import Evaluation, evaluate
from convscope.report import markup, rendering
from convscope.report.drawings import NAMES, Drawing, draw
from convscope.report.headline import headline
from convscope.report.material import Material
from convscope.report.sections import sections
from convscope.train import Run


def write(run: Run, model: nn.Module, dataset: Dataset, *, evaluation: Evaluation | None = None) -> Path:
    """Write ``report.html`` and ``plots/*.png`` into a run folder, replacing those that are there.

    The page loads nothing: figures are inside it, it follows the reader's light or dark theme, and it is the same to
    the last byte whenever it is written from the same run.

    Args:
        run: Finished or not.
        model: The network with the weights to judge; left where it is and in the mode it is in.
        dataset: What the run was trained on.
        evaluation: Of ``dataset.test`` when it was made already; None makes it.

    Returns:
        The path of the page.

    Raises:
        ValueError: The images, the evaluation and the run have different classes or numbers of images.
        RunError: The weights give NaN or infinity; or a file could not be written, and the previous one is whole.
    """
    if dataset.classes != run.classes:
        raise ValueError(
            f"{run.path} knows {len(run.classes)} classes and {dataset.name!r} has {len(dataset.classes)}, or their "
            "names differ; expected the images that the run was trained on"
        )
    if evaluation is None:
        evaluation = _judge(run, model, dataset)
    if evaluation.classes != dataset.classes or not torch.equal(evaluation.labels, dataset.test.labels):
        raise ValueError(
            f"expected an evaluation of the {len(dataset.test):,} test images of {dataset.name!r}, got one of "
            f"{len(evaluation):,} images with other labels or classes"
        )
    broken = int((~evaluation.probabilities.isfinite()).any(1).sum())
    if broken:
        raise RunError(_no_numbers(run, f"for {broken:,} of {len(evaluation):,} test images"))
    material = Material(run, model, dataset, evaluation)
    drawings = draw(material)
    _write_plots(drawings, run.path / "plots")
    path = run.path / "report.html"
    write_bytes(path, _page(material, drawings).encode())
    return path


def _judge(run: Run, model: nn.Module, dataset: Dataset) -> Evaluation:
    """Judge where the model is; weights that are no numbers are the run's fault, and anything else the caller's."""
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    try:
        return evaluate(run.scorer(model), dataset.test, run.preprocess, device=device)
    except ValueError as error:
        if all(bool(value.isfinite().all()) for value in model.state_dict().values()):
            raise
        raise RunError(_no_numbers(run, f"for the test images of {dataset.name!r}")) from error


def _no_numbers(run: Run, where: str) -> str:
    return (
        f"the weights of {run.path} give NaN or infinite probabilities {where}, so there is nothing to report; train "
        "again with a lower --lr or with --clip-grad 1"
    )


def _write_plots(drawings: dict[str, Drawing], folder: Path) -> None:
    """Every figure as a file; those of an earlier report that this one lacks go, and other files stay."""
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise RunError(f"could not make the folder {folder}: {error.strerror or error}") from error
    for drawing in drawings.values():
        write_bytes(folder / f"{drawing.name}.png", rendering.png(drawing.figure))
    for name in NAMES:
        stale = folder / f"{name}.png"
        if name not in drawings:
            try:
                stale.unlink(missing_ok=True)
            except OSError as error:
                raise RunError(f"could not remove {stale}: {error.strerror or error}") from error


def _page(material: Material, drawings: dict[str, Drawing]) -> str:
    """The whole page as text."""
    here = resources.files("convscope.report")
    parts = sections(material, drawings)
    return Template((here / "page.html").read_text(encoding="utf-8")).substitute(
        title=markup.text(material.title),
        style=(here / "page.css").read_text(encoding="utf-8").strip(),
        headline=headline(material),
        links="\n".join(f'<a href="#{anchor}">{markup.text(name)}</a>' for anchor, name, _ in parts),
        sections="\n".join(content for _, _, content in parts),
        footer=markup.paragraph(f"Written by convscope {__version__}. The figures are also in the folder plots/."),
    )
