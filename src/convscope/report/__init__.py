"""Figures and the HTML report of a run."""

from convscope.report.page import write
from convscope.report.rendering import save_figure

__all__ = ["save_figure", "write"]
