"""Every figure of a report, each a function that returns a ``matplotlib.figure.Figure``.

They are narrow on purpose: on a phone a figure is as wide as the screen and its text stays readable.
"""

from convscope.report.figures.augmentation import augmentation_grid
from convscope.report.figures.curves import accuracy_curve, gradient_norm, learning_rate, loss_curve
from convscope.report.figures.lr_range import lr_range
from convscope.report.figures.matrices import confusion, per_class
from convscope.report.figures.pictures import contact_sheet, first_convolution, first_layer_filters, mistakes
from convscope.report.figures.receptive import receptive_field_map

__all__ = [
    "accuracy_curve",
    "augmentation_grid",
    "confusion",
    "contact_sheet",
    "first_convolution",
    "first_layer_filters",
    "gradient_norm",
    "learning_rate",
    "loss_curve",
    "lr_range",
    "mistakes",
    "per_class",
    "receptive_field_map",
]
