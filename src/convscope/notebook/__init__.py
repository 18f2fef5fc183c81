"""Notebooks and scripts run from the shell: read, executed cell by cell, written as a copy.

What reads and speaks the notebook format is the extra ``[notebook]``, imported when a notebook is read.
"""

from convscope.notebook.page import as_page
from convscope.notebook.reading import NotebookError, as_notebook, read_notebook, split_script
from convscope.notebook.running import Failure, Outcome, Watcher, run

__all__ = [
    "Failure",
    "NotebookError",
    "Outcome",
    "Watcher",
    "as_notebook",
    "as_page",
    "read_notebook",
    "run",
    "split_script",
]
