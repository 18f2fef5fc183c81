"""``docs/scale.md`` has a row for every network, worked out from its own formula."""

import re
from pathlib import Path

from convscope import models

PAGE = (Path(__file__).parents[2] / "docs" / "scale.md").read_text()
MACHINES = ((8, 450e9, 5e-6), (64, 12.5e9, 20e-6), (64, 50e9, 5e-6))  # processes, bytes per second, seconds a message


def test_every_network_has_the_cost_that_the_formula_gives():
    rows = []
    for name in models.names():
        size = 4 * models.info(name).parameters  # held to the truth by the tests of the registry
        times = [1e3 * (2 * (p - 1) / p * size / speed + 2 * (p - 1) * delay) for p, speed, delay in MACHINES]
        rows.append(f"| `{name}` | {size / 1e6:,.1f} MB | {' | '.join(f'{time:,.2f}' for time in times)} |")
    assert "T = 2 (p - 1) / p * g / B + 2 (p - 1) * a" in PAGE
    assert re.findall(r"^\| `\w+` \| .* MB \| .*$", PAGE, re.MULTILINE) == rows
