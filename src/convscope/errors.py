"""What can go wrong with data, files and runs.

Mistakes of a caller are plain ``ValueError`` and ``TypeError``. What happens to data, files and runs derives
from ``ConvscopeError``, so that one ``except`` clause catches everything that is not a bug.
"""


class ConvscopeError(Exception):
    """Something outside the program went wrong; the message says what to do."""


class DataError(ConvscopeError):
    """A data set is missing, damaged or not laid out as expected."""


class RunError(ConvscopeError):
    """A run folder is missing, incomplete, occupied or could not be written."""


class TrainingDiverged(ConvscopeError):
    """The loss became NaN or infinite; the last good weights were kept."""


class TrainingInterrupted(ConvscopeError):
    """Training stopped on request, after a finished step and with everything saved."""
