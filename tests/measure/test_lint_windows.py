"""What is said of windows against what gradients say of them."""

import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from convscope.measure.lint import lint
from convscope.measure.lint.network import Network
from convscope.measure.lint.windows import _live, _taken
from convscope.measure.tracing import trace

axes = st.tuples(
    st.integers(1, 14), st.integers(1, 5), st.integers(1, 4), st.integers(1, 3), st.integers(0, 4), st.integers(0, 4)
)  # length, taps, stride, dilation, padding before and after


class Window(nn.Module):
    """A convolution along one axis of an image, padded apart or by itself."""

    def __init__(self, taps, stride, dilation, before, after):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1, 1, 1, taps))
        self.stride, self.dilation, self.sides = stride, dilation, (before, after)

    def forward(self, x):
        before, after = self.sides
        if before == after:
            return F.conv2d(x, self.weight, None, (1, self.stride), (0, before), (1, self.dilation))
        return F.conv2d(F.pad(x, (before, after)), self.weight, None, (1, self.stride), 0, (1, self.dilation))


@settings(max_examples=120, deadline=None)
@given(axes)
def test_what_is_read_is_what_gets_a_gradient(axis):
    length, taps, stride, dilation, before, after = axis
    assume(length + before + after > dilation * (taps - 1))
    net = Window(taps, stride, dilation, before, after)
    (window,) = Network(net, trace(net, (1, 1, length))).windows
    found = {f.rule for f in lint(net, (1, 1, length))}

    padded = F.pad(torch.ones(1, 1, 1, length), (before, after)).requires_grad_()
    F.conv2d(padded, net.weight.detach(), None, (1, stride), 0, (1, dilation)).sum().backward()
    read = padded.grad[0, 0, 0] > 0
    last = int(read.nonzero().max()) + 1  # pixels up to the last that is read, padding before included
    assert window.columns.end == last - before - length
    unread = length + before - last
    uneven = stride > 1 and before != max(0, -unread)
    assert ("uneven-padding" in found) == uneven
    assert ("even-kernel-same" in found) == (taps % 2 == 0 and stride == 1 and before != after)

    line = torch.ones(1, 1, 1, 80, requires_grad=True)  # so long that its middle knows nothing of its ends
    F.conv2d(line, net.weight.detach(), None, (1, stride), 0, (1, dilation)).sum().backward()
    taken = int((line.grad[0, 0, 0, 40 : 40 + stride] > 0).sum())
    assert _taken(window.columns) == taken
    assert ("skipped-pixels" in found) == (taken < stride)
    assert ("unread-border" in found) == (unread > 0 and taken == stride)

    image = torch.ones(1, 1, 1, length)
    net(image).sum().backward()  # a tap that only ever reads zeros gets no gradient
    assert _live(window.columns) == int((net.weight.grad != 0).sum())
    assert ("kernel-on-padding" in found) == (_live(window.columns) < taps)
