"""Numbers as people read them."""

from __future__ import annotations

import math
import unicodedata

from convscope.train import TrainConfig

NBSP = "\N{NO-BREAK SPACE}"
NOT_NOTED = "not noted"
UNKNOWN = "\N{EN DASH}"  # in a table, what was not measured or says nothing
OPEN = 20  # rows up to which a table is open from the start

SPLITS = {"test": "test images", "val": "validation images"}  # what an epoch was judged by, in words


def percent(share: float, digits: int = 1) -> str:
    r"""A share as per cent; what is not whole is never rounded to 0 or 100.

    Example:
        >>> percent(0.5), percent(1.0), percent(0.99999), percent(0.00001)
        ('50.0\xa0%', '100\xa0%', '>99.9\xa0%', '<0.1\xa0%')
    """
    least = 10.0**-digits
    if share in (0, 1):
        number = f"{100 * share:.0f}"
    elif 100 * share > 100 - least / 2:
        number = f">{100 - least:.{digits}f}"
    elif 100 * share < least / 2:
        number = f"<{least:.{digits}f}"
    else:
        number = f"{100 * share:.{digits}f}"
    return f"{number}{NBSP}%"


def memory(count: float) -> str:
    r"""Bytes in binary units.

    Example:
        >>> memory(412 * 2**20), memory(3 * 2**30)
        ('412\xa0MiB', '3.0\xa0GiB')
    """
    if count < 2**30:
        return f"{count / 2**20:.0f}{NBSP}MiB"
    return f"{count / 2**30:.1f}{NBSP}GiB"


def rate(per_second: float) -> str:
    r"""Operations a second with a decimal prefix.

    Example:
        >>> rate(36.04e9), rate(512e3), rate(2.5e12), rate(7)
        ('36.0\xa0G/s', '512\xa0k/s', '2.50\xa0T/s', '7.00/s')
    """
    step = min(5, max(0, int(math.log10(per_second) // 3))) if per_second > 0 else 0
    value = per_second / 1000**step
    prefix = f"{NBSP}{'kMGTP'[step - 1]}" if step else ""
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f}{prefix}/s"


def plural(count: int, noun: str, nouns: str = "") -> str:
    """A number with its noun.

    Example:
        >>> plural(1, "epoch"), plural(60000, "image"), plural(2, "class", "classes")
        ('1 epoch', '60,000 images', '2 classes')
    """
    return f"{count:,} {noun if count == 1 else nouns or noun + 's'}"


def after_epochs(config: TrainConfig) -> str:
    """When the held-out images were looked at.

    Example:
        >>> after_epochs(TrainConfig(epochs=5)), after_epochs(TrainConfig(epochs=5, evaluate_every=2))
        ('after each epoch', 'after every 2 epochs and at the end')
        >>> after_epochs(TrainConfig(epochs=5, evaluate_every=9))
        'after the last epoch'
    """
    every = config.evaluate_every
    if every == 1 or config.epochs_begun == 1:
        return "after each epoch"
    return f"after every {every} epochs and at the end" if every < config.epochs_begun else "after the last epoch"


def interval(right: int, total: int) -> tuple[float, float]:
    """Where the true share lies, with 95 % confidence, when ``right`` of ``total`` were drawn.

    Example:
        >>> low, high = interval(90, 100)
        >>> round(low, 3), round(high, 3)
        (0.826, 0.945)

    Source:
        Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
    """
    z = 1.959964  # the middle 95 % of a normal distribution
    share, scale = right / total, 1 + z * z / total
    centre = (share + z * z / (2 * total)) / scale
    reach = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total)) / scale
    return max(0.0, centre - reach), min(1.0, centre + reach)


def clean(text: str) -> str:
    r"""Text that a page can hold: file names may contain control characters and bytes that are no text.

    Example:
        >>> clean("cat\x00\udcff")
        'cat��'
    """
    return "".join(
        "\N{REPLACEMENT CHARACTER}"
        if unicodedata.category(character) in ("Cc", "Cs") and character != "\n"
        else character
        for character in text
    )
