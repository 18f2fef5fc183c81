"""What the author of a network may not have meant: findings with what, where, why and the change to make.

``finding``   what is found
``registry``  the table of rules, each a function with a decorator
``network``   what rules look at
``training``  a forward pass in training mode
``running``   ``lint`` applies the rules

Rules: ``windows`` and ``extent`` about geometry, ``folding`` about operators that undo each other, ``budget`` about
where parameters are, ``usage`` about what never runs, ``weights`` and ``liveness`` about values.
"""

from convscope.measure.lint import windows, extent, folding, budget, usage, weights, liveness  # noqa: F401, I001 - the order of the handbook
from convscope.measure.lint.finding import SEVERITIES, Finding, Severity, as_text
from convscope.measure.lint.registry import RULES, Rule
from convscope.measure.lint.running import lint

__all__ = ["RULES", "SEVERITIES", "Finding", "Rule", "Severity", "as_text", "lint"]
