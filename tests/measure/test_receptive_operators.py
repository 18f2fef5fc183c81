"""What single operators read, against the support of the gradient of every unit they make."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from convscope.measure import receptive_field, summary, trace
from convscope.measure.following import follow

H, W = 8, 6
FIXED = torch.Generator().manual_seed(0)
MIX = torch.rand(8, 8, generator=FIXED, dtype=torch.float64)


class Runs(nn.Module):
    """A function, and the layers that it calls."""

    def __init__(self, function, *layers):
        super().__init__()
        self.function, self.layers = function, nn.ModuleList(layers)

    def forward(self, x):
        return self.function(x, *self.layers)


def tokens(function):
    """``N,C,H,W -> N,HW,C`` and back."""

    def run(x, *layers):
        n, _, h, w = x.shape
        return function(x.flatten(2).transpose(1, 2), *layers).transpose(1, 2).reshape(n, -1, h, w)

    return run


def windows(x):
    """Attention inside windows of 2x2 places."""
    x = x.view(1, 2, 4, 2, 3, 2).permute(0, 2, 4, 3, 5, 1).reshape(12, 4, 2)
    x = F.scaled_dot_product_attention(x, x, x)
    return x.reshape(1, 4, 3, 2, 2, 2).permute(0, 5, 1, 3, 2, 4).reshape(1, 2, H, W)


def sampled(x):
    theta = torch.tensor([[[1.0, 0.3, 0.0], [0.1, 1.0, 0.0]]], dtype=x.dtype)
    return F.grid_sample(x, F.affine_grid(theta, list(x.shape), align_corners=False), align_corners=False)


EXACT = {  # the region is the support of the gradient, or the rectangle around it
    "roll": (lambda x: x.roll((1, -2), (2, 3)),),
    "roll of channels": (lambda x: x.roll(1, 1),),
    "roll and attend in windows": (lambda x: windows(x.roll((-1, -1), (2, 3))).roll((1, 1), (2, 3)),),
    "attention in windows": (windows,),
    "Tensor.unfold": (lambda x: x.unfold(2, 3, 2).mean(-1),),
    "Tensor.unfold twice": (lambda x: x.unfold(2, 2, 2).unfold(3, 2, 2).sum((-1, -2)),),
    "patches by unfold": (lambda x: x.unfold(2, 2, 2).unfold(3, 2, 2).permute(0, 1, 4, 5, 2, 3).flatten(1, 3),),
    "nn.Unfold": (lambda x: F.unfold(x, 3, padding=1).reshape(1, -1, H, W),),
    "nn.Unfold strided": (lambda x: F.unfold(x, 2, stride=2).reshape(1, -1, 4, 3),),
    "convolution by unfold": (lambda x: (MIX[:3].to(x) @ F.unfold(x, 2, dilation=2)).reshape(1, 3, 6, 4),),
    "nn.Fold": (lambda x: F.fold(MIX.to(x) @ F.unfold(x, 2, stride=2), (H, W), 2, stride=2),),
    "softmax of channels": (lambda x: x.softmax(1),),
    "softmax of columns": (lambda x: x.softmax(3),),
    "log_softmax": (lambda x: x.log_softmax(2),),
    "_safe_softmax": (lambda x: torch.ops.aten._safe_softmax(x, 3),),
    "flip": (lambda x: x.flip((2, 3)),),
    "transpose": (lambda x: x.transpose(2, 3),),
    "cumsum of channels": (lambda x: x.cumsum(1),),
    "pixel_shuffle": (lambda x: F.pixel_shuffle(torch.cat([x, 2 * x], 1), 2),),
    "pixel_unshuffle": (lambda x: F.pixel_unshuffle(x, 2),),
    "channel_shuffle": (lambda x: F.channel_shuffle(torch.cat([x, x], 1), 2),),
    "channel shuffle by views": (lambda x: torch.cat([x, x], 1).view(1, 2, 2, H, W).transpose(1, 2).flatten(1, 2),),
    "glu of channels": (lambda x: F.glu(torch.cat([x, x], 1), 1),),
    "glu of columns": (lambda x: F.glu(x, 3),),
    "einsum of channels": (lambda x: torch.einsum("nchw,dc->ndhw", x, MIX[:3, :2].to(x)),),
    "einsum of rows": (lambda x: torch.einsum("nchw,hi->nciw", x, MIX.to(x)),),
    "matmul from the left": (lambda x: MIX.to(x) @ x,),
    "MultiheadAttention": (tokens(lambda x, layer: layer(x, x, x)[0]), nn.MultiheadAttention(2, 1, batch_first=True)),
    "PReLU": (lambda x, layer: layer(x), nn.PReLU(2)),
    "logsigmoid": (F.logsigmoid,),
    "GroupNorm": (lambda x, layer: layer(x), nn.GroupNorm(2, 2)),
    "InstanceNorm": (lambda x, layer: layer(x), nn.InstanceNorm2d(2)),
    "InstanceNorm with statistics": (lambda x, layer: layer(x), nn.InstanceNorm2d(2, track_running_stats=True)),
    "LayerNorm of channels": (lambda x, n: n(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), nn.LayerNorm(2)),
    "RMSNorm": (lambda x, layer: layer(x), nn.RMSNorm(W)),
    "LocalResponseNorm": (lambda x, layer: layer(x), nn.LocalResponseNorm(2)),
    "pad reflect": (lambda x: F.pad(x, (1, 2, 2, 1), mode="reflect"),),
    "pad replicate": (lambda x: F.pad(x, (1, 2, 2, 1), mode="replicate"),),
    "pad circular": (lambda x: F.pad(x, (1, 2, 2, 1), mode="circular"),),
    "pad and crop": (lambda x: F.pad(x, (-1, 2, -2, 1)),),
    "rows one by one": (lambda x: torch.stack(x.unbind(2)[::2], 2),),
    "tensor_split": (lambda x: x.tensor_split(3, 2)[1],),
    "rows as channels of a convolution": (lambda x, conv: conv(x[0])[None], nn.Conv1d(H, H, 3, padding=1)),
    "rows as groups of channels": (lambda x, conv: conv(x[0])[None], nn.Conv1d(H, 4, 3, padding=1, groups=4)),
    "Conv3d over channels": (lambda x, conv: conv(x[:, None])[:, 0], nn.Conv3d(1, 1, 3, padding=1)),
    "resize with antialiasing": (lambda x: F.interpolate(x, (3, 4), mode="bilinear", antialias=True),),
    "kernels made of the image": (lambda x: F.conv2d(x, x.mean((2, 3), True).expand(2, 2, 3, 3), padding=1),),
}
AT_LEAST = {  # where it reads is not known, or a rectangle says too much: nothing may be missing
    "rows times rows": (lambda x: x @ x.transpose(2, 3),),
    "index": (lambda x: x[:, :, [0, 5, 2]],),
    "index_select": (lambda x: x.index_select(2, torch.tensor([3, 1, 0])),),
    "gather": (lambda x: x.gather(3, torch.zeros(1, 2, H, W, dtype=torch.long)),),
    "sort": (lambda x: x.sort(3).values,),
    "topk": (lambda x: x.topk(3, 3).values,),
    "median": (lambda x: x.median(3, keepdim=True).values,),
    "cumsum": (lambda x: x.cumsum(3),),
    "cummax": (lambda x: x.cummax(2).values,),
    "roll of the whole": (lambda x: x.roll(1),),
    "grid_sample": (sampled,),
    "fold of unfold": (lambda x: F.fold(F.unfold(x, 3, padding=1), (H, W), 3, padding=1),),
    "scatter": (lambda x: torch.zeros_like(x).scatter(3, torch.arange(W).flip(0).expand(1, 2, H, W), x),),
    "fft": (lambda x: torch.fft.fft2(x).real,),
    "triu": (lambda x: x.triu(),),
    "as_strided": (lambda x: x.as_strided((1, 2, 4, 3), (96, 48, 12, 2)),),
    "LSTM over rows": (lambda x, layer: layer(x[0])[0][None], nn.LSTM(W, W, batch_first=True)),
}


def supports(net):
    """For every unit, the rows and columns of pixels that its gradient reaches, and those that were predicted."""
    torch.manual_seed(0)
    x = (torch.rand(1, 2, H, W, dtype=torch.float64) + 0.5).requires_grad_()
    out = net(x)
    for unit in np.ndindex(*out.shape[2:]):
        weights = torch.rand(out.shape[1], dtype=torch.float64) + 0.5  # so that channels do not cancel
        (gradient,) = torch.autograd.grad((out[0, :, unit[0], unit[1]] * weights).sum(), x, retain_graph=True)
        reached = gradient[0].abs().sum(0) > 1e-12
        region = receptive_field(net, (2, H, W), "", unit).region
        yield (
            [set(np.flatnonzero(reached.any(axis)).tolist()) for axis in (1, 0)],
            [
                set(region.seen_rows),
                set(region.seen_columns),
            ],
        )


@pytest.mark.parametrize("name", EXACT)
def test_what_an_operator_reads_is_the_support_of_its_gradient(name):
    net = Runs(*EXACT[name]).double().eval()
    for reached, predicted in supports(net):
        if all(reached):  # a unit of nothing but padding
            assert predicted == reached
        else:
            assert not all(predicted)
    assert follow(trace(net, (2, H, W))).unknown == ()


@pytest.mark.parametrize("name", AT_LEAST)
def test_nothing_that_an_operator_reads_is_missing(name):
    net = Runs(*AT_LEAST[name]).double().eval()
    for reached, predicted in supports(net):
        assert all(r <= p for r, p in zip(reached, predicted, strict=True))


@pytest.mark.parametrize("name", ["index", "gather", "grid_sample", "as_strided", "scatter"])
def test_what_is_not_known_is_said(name):
    notes = summary(Runs(*AT_LEAST[name]), (2, H, W), training=False).notes
    assert any(note.startswith("operators that are said to see everything, because") for note in notes)


RESIZES = st.fixed_dictionaries({
    "scale_factor": st.tuples(*(st.sampled_from([0.3, 0.5, 0.6, 0.75, 1.0, 1.1, 1.25, 1.3, 1.5, 1.7, 2.0, 2.5]),) * 2),
    "mode": st.sampled_from(["nearest", "nearest-exact", "bilinear", "bicubic"]),
    "recompute_scale_factor": st.booleans(),
    "align_corners": st.booleans(),
    "antialias": st.booleans(),
})  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(RESIZES, st.integers(4, 13), st.integers(4, 13), st.data())
def test_resizing_by_a_fraction_reads_what_its_gradient_reaches(asked, height, width, data):
    smooth = asked["mode"] in ("bilinear", "bicubic")
    asked["align_corners"] = asked["align_corners"] if smooth else None
    asked["antialias"] = asked["antialias"] and smooth
    net = Runs(lambda x: F.interpolate(x, **asked)).double()
    x = torch.rand(1, 1, height, width, dtype=torch.float64, requires_grad=True)
    out = net(x)
    assume(min(out.shape[2:]) > 0)
    unit = tuple(data.draw(st.integers(0, n - 1)) for n in out.shape[2:])
    (gradient,) = torch.autograd.grad(out[0, 0, unit[0], unit[1]], x)
    reached = gradient[0, 0].abs() > 1e-9
    region = receptive_field(net, (1, height, width), "", unit).region
    assert region.seen_rows == tuple(np.flatnonzero(reached.any(1)).tolist())
    assert region.seen_columns == tuple(np.flatnonzero(reached.any(0)).tolist())


def test_places_follow_the_scale_that_was_given():
    """7 pixels scaled by 1.5 become 10, which lie 1 / 1.5 apart; with ``recompute_scale_factor`` 7 / 10 apart."""
    for recompute in (None, True):
        net = nn.Upsample(scale_factor=1.5, mode="nearest", recompute_scale_factor=recompute)
        field = receptive_field(net, (1, 7, 7), "", (0, 9))
        assert float(field.jump[1]) == pytest.approx(0.7 if recompute else 1 / 1.5, abs=1e-3)
        places = net(torch.arange(7.0).expand(1, 1, 7, 7))[0, 0, 0]
        seen = [receptive_field(net, (1, 7, 7), "", (0, unit)).region.seen_columns for unit in range(10)]
        assert seen == [(int(place),) for place in places]
