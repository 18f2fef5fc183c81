"""One forward pass of any network, operator by operator, without touching it.

``graph``     what a trace is: plain values
``running``   ``trace`` makes one
``recorder``  watches operators and modules
``shapes``    shapes of the commonest operators, fast
``inventory`` what a network consists of
``guard``     leaves the network as it was, with ``attributes`` for what is no tensor
``refusal``   says why a network does not take a size, and which it takes
"""

from convscope.measure.tracing.graph import Call, ModuleFacts, Node, ParameterFacts, Trace, Value
from convscope.measure.tracing.guard import untouched
from convscope.measure.tracing.running import full_size, materialised, trace, trace_and_kept

__all__ = [
    "Call",
    "ModuleFacts",
    "Node",
    "ParameterFacts",
    "Trace",
    "Value",
    "full_size",
    "materialised",
    "trace",
    "trace_and_kept",
    "untouched",
]
