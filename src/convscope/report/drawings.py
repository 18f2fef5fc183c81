"""Every figure of a report with its words: a heading, and how to read it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from matplotlib.figure import Figure
from torch import nn

from convscope.data.augment import Augment
from convscope.report import figures, markup, rendering
from convscope.report.figures.matrices import COUNTED, CROWDED, ROOMY, SCORED
from convscope.report.figures.pictures import FILTERS, ROWS, SHEET
from convscope.report.material import Material
from convscope.report.wording import SPLITS, after_epochs, percent, plural

NAMES = (
    *("loss", "accuracy", "learning-rate", "gradient-norm"),
    *("confusion", "per-class", "mistakes", "filters", "images", "augmentation"),
)
VARIED = 6  # images in the figure of augmentation
SMOOTH = 48  # images larger than this are photographs, and a browser may smooth them


@dataclass(frozen=True, eq=False)
class Drawing:
    """A figure and what is said about it.

    Args:
        name: Of its file, and what its identifiers in the page begin with.
        figure: Drawn, and its layout settled.
        title: The heading of its card.
        reading: How to read it.
        label: What it shows, for somebody who cannot see it.
        kind: A class of the style sheet.
    """

    name: str
    figure: Figure
    title: str
    reading: str
    label: str
    kind: str = ""

    def card(self) -> str:
        """The figure as a part of the page."""
        drawn = rendering.inline(self.figure, prefix=self.name, label=self.label)
        return markup.figure(drawn, self.title, self.reading, kind=self.kind)


def draw(material: Material) -> dict[str, Drawing]:
    """All figures that this run has something to show for, by name."""
    drawings = [*_curves(material), *_judgement(material), *_pictures(material)]
    for drawing in drawings:
        rendering.settle(drawing.figure)
    return {drawing.name: drawing for drawing in drawings}


def _curves(material: Material) -> Iterator[Drawing]:
    history, classes = material.history, len(material.dataset.classes)
    held = SPLITS["val" if material.config.val_fraction else history.split]  # perhaps none was looked at yet
    names = {name for row in history.rows for name in row.values}
    smoothed = ""
    if material.config.label_smoothing:
        smoothed = " Label smoothing raises the training loss, and only that: the two levels cannot be compared."
    if "train_loss" in names:
        yield Drawing(
            "loss",
            figures.loss_curve(history, num_classes=classes),
            "Loss: how wrong it is",
            f"Lower is better. Blue is a running mean over the training images, orange the {held} "
            f"{after_epochs(material.config)}. Both falling means that it learns; orange turning upwards while blue "
            f"goes on falling is the sign of learning by heart.{smoothed}",
            f"Line chart of the loss on training and {held}.{_ends(material, 'loss')}",
        )
    if "train_accuracy" in names:
        yield Drawing(
            "accuracy",
            figures.accuracy_curve(history, num_classes=classes),
            "Accuracy: how often it is right",
            f"The share of images whose most probable class is the true one. Blue far above orange ({held}) hints at "
            "learning by heart; a small gap says little, because training values are running means, taken while the "
            "weights still move, with dropout and augmentation on where used. The legend gives the last epoch's mean.",
            f"Line chart of the accuracy on training and {held}.{_ends(material, 'accuracy')}",
        )
    if "lr" in names:
        yield Drawing(
            "learning-rate",
            figures.learning_rate(history),
            "Learning rate: how large its steps are",
            f"The step size of the optimiser, on the schedule “{material.config.schedule.sched}”. Compare it with the "
            "loss at the same epoch: large steps learn fast and restlessly, small ones at the end settle.",
            f"Line chart of the learning rate, with the peak set to {material.config.optimizer.lr:g}.",
        )
    if "grad_norm" in names:
        yield _gradient_norm(material)


def _gradient_norm(material: Material) -> Drawing:
    clip = material.config.optimizer.clip_grad
    cut = f"Those above the dotted line were cut to {clip:g} (--clip-grad)" if clip else "--clip-grad cuts single peaks"
    norms = [row.values["grad_norm"] for row in material.history.rows if "grad_norm" in row.values]
    return Drawing(
        "gradient-norm",
        figures.gradient_norm(material.history, clip=clip),
        "Gradient norm: how hard the loss pulls",
        "The length of the gradient of all weights together, at single steps, on an axis of factors: each mark is as "
        f"many times larger as the last. A restless line is normal. {cut}; steady growth asks for a lower learning "
        "rate, and a fall towards zero means that little is learned any more.",
        f"Line chart of the norm of the gradient at {plural(len(norms), 'step')}.",
    )


def _ends(material: Material, what: str) -> str:
    """The last values in words."""
    said = []
    for name, images in (("train", "training images"), (material.history.split, SPLITS[material.history.split])):
        values = material.noted(f"{name}_{what}")
        if values:
            said.append(f"{percent(values[-1]) if what == 'accuracy' else f'{values[-1]:.3f}'} on {images}")
    return f" After the last epoch: {', '.join(said)}." if said else ""


def _judgement(material: Material) -> Iterator[Drawing]:
    evaluation = material.evaluation
    classes = len(evaluation.classes)
    seen = [score for score in evaluation.per_class if score.support]
    worst = min(seen, key=lambda score: score.f1)
    shown = classes if classes <= CROWDED else COUNTED
    counted = "Each cell counts images. " if shown <= COUNTED else ""
    if shown < classes:
        counted += f"Of {classes:,} classes the {shown} in the most frequent mistakes are shown. "
    yield Drawing(
        "confusion",
        figures.confusion(evaluation),
        "Confusion matrix: what is taken for what",
        f"A row is what an image is, a column what the network said. {counted}Blue on the diagonal is right; an "
        "orange cell is a mistake, the stronger the larger its share of the row. Two strong cells facing each "
        "other across the diagonal are two classes that look alike to it.",
        f"Confusion matrix of {plural(classes, 'class', 'classes')}: {material.right:,} of {len(evaluation):,} images "
        "are on the diagonal.",
        "roomy" if ROOMY < shown <= COUNTED else "",
    )
    chosen = f" The {SCORED} classes with the lowest F1 are shown." if len(seen) > SCORED else ""
    if len(seen) < classes:
        chosen += " Classes without test images are left out."
    yield Drawing(
        "per-class",
        figures.per_class(evaluation),
        "Precision and recall of each class",
        "Precision: when it says this class, how often is that right? Recall: of the images of this class, how many "
        "does it find? Far apart means that the class is said too often (recall higher) or too seldom (precision "
        f"higher).{chosen}",
        f"Dot chart of precision and recall per class; the lowest F1 is {percent(worst.f1)} for {worst.name}.",
    )


def _pictures(material: Material) -> Iterator[Drawing]:
    dataset, evaluation = material.dataset, material.evaluation
    smooth = "smooth" if max(dataset.image_size) > SMOOTH else ""
    wrong = figures.mistakes(evaluation, dataset.test)
    if wrong is not None:
        worst = evaluation.mistakes(1)[0]
        yield Drawing(
            "mistakes",
            wrong,
            "The most confident mistakes",
            "Test images that it got wrong while being surest, the surest first. Ask yourself what you would have "
            "said: some are hard, some may be labelled wrongly, and some show what it has not understood.",
            f"Pictures of mistakes; the first was called {worst.said}, is {worst.true}, with a confidence of "
            f"{percent(worst.confidence)}.",
            smooth,
        )
    filters = figures.first_layer_filters(material.model)
    if filters is not None:
        weight = figures.first_convolution(material.model)
        shown = 0 if weight is None else len(weight) * (1 if weight.shape[1] == 3 else weight.shape[1])
        first = f" The first {FILTERS} of {shown:,} are shown." if shown > FILTERS else ""
        yield Drawing(
            "filters",
            filters,
            "Filters of the first layer",
            f"What slides over the image first. {_filter_colors(material.model)} A filter answers most strongly where "
            f"the image looks like it: halves of two colours find an edge between them, a spot finds a dot.{first}",
            "The weights of the first convolution as small pictures.",
        )
    yield _contact_sheet(material, smooth)
    varied = _augmentation(material)
    if varied is not None:
        yield varied


def _filter_colors(model: nn.Module) -> str:
    """What the colours of the filters mean."""
    weight = figures.first_convolution(model)
    if weight is not None and weight.shape[1] == 3:
        return "Grey is a weight of zero, and a tint is the colour that the filter looks for."
    return "White is a weight of zero, blue adds to the answer, orange takes away from it."


def _contact_sheet(material: Material, kind: str) -> Drawing:
    dataset, classes = material.dataset, len(material.dataset.classes)
    if classes <= ROWS:
        reading = "Examples of every class, and below each name the number of its training images."
    elif classes <= SHEET:
        reading = "One training image of every class."
    else:
        reading = f"One training image of each of the first {SHEET} classes of {classes:,}."
    return Drawing(
        "images",
        figures.contact_sheet(dataset),
        "Training images",
        reading,
        f"Contact sheet of training images of {plural(classes, 'class', 'classes')}.",
        f"sheet {kind}".strip(),
    )


def _augmentation(material: Material) -> Drawing | None:
    """The first image of each of a few classes, varied; None where nothing is varied."""
    config = material.config
    if not config.augment.active:
        return None
    try:
        augment = Augment(config.augment, material.run.preprocess, seed=config.seed)
    except ModuleNotFoundError:  # trained where kornia is installed, and looked at where it is not
        return None
    learned = material.dataset.train
    present = [label for label, count in enumerate(learned.counts()) if count][:VARIED]
    first = [int((learned.labels == label).nonzero()[0]) for label in present]
    images = learned.take(torch.tensor(first))
    return Drawing(
        "augmentation",
        figures.augmentation_grid(images, augment),
        "Augmentation: what the network saw of an image",
        "Left, images as they are evaluated; beside each, how it came to the network in one epoch after the other. Ask "
        "yourself whether every variation still is what its label says: what you could not tell, it can hardly learn.",
        f"Pictures of {plural(len(first), 'training image')}, each varied as in seven epochs.",
    )
