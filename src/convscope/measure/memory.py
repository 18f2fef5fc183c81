"""How much memory activations take, for looking and for learning.

**Inference**: the bytes that are alive at once, when every tensor is freed after the last operator that uses it. The
images count, parameters and buffers do not.

**Training**: the bytes that autograd keeps for the backward pass, each piece of memory once. Parameters and buffers do
not count; the images do, where a layer keeps them. It is autograd itself that says what it keeps.
"""

from __future__ import annotations

from collections import defaultdict

from convscope.measure.tracing.graph import Trace


def alive(trace: Trace) -> list[int]:
    """For every operator, the bytes of activations that are alive while it runs.

    Returns:
        One number for each node; empty for a trace without operators.
    """
    last = trace.last_uses
    size, owned = {}, set()
    for value in trace.values:
        size[value.storage] = value.storage_bytes
        if value.state is not None:
            owned.add(value.storage)
    images = trace.values[trace.input].storage
    now, living, course = size[images], {images}, []
    dying = defaultdict(list)
    for storage, end in last.items():
        dying[end].append(storage)
    for node in trace.nodes:
        for index in node.outputs:
            storage = trace.values[index].storage
            if storage not in living and storage not in owned:
                living.add(storage)
                now += size[storage]
        course.append(now)
        for storage in dying[node.index]:
            if storage in living:
                living.discard(storage)
                now -= size[storage]
    return course
