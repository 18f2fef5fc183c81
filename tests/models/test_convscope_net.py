"""The networks of this package: what their first layer computes, and that it stays as it is."""

import pytest
import torch
from scipy.fft import dctn
from torch import nn

from convscope import models
from convscope.models.convscope_net import CosineConv, cosine_kernels


@pytest.mark.parametrize(("size", "frequencies"), [(4, 4), (8, 3), (16, 4)])
def test_the_kernels_are_those_of_the_cosine_transform(size, frequencies):
    patch = torch.randn(size, size, generator=torch.Generator().manual_seed(1))
    ours = (cosine_kernels(size, frequencies)[:, 0] * patch).sum(dim=(1, 2)).reshape(frequencies, frequencies)
    theirs = torch.from_numpy(dctn(patch.numpy(), norm="ortho"))[:frequencies, :frequencies]
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_each_patch_is_transformed_and_each_channel_alone():
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    out = CosineConv(3, stride=2)(x)  # patches of 4x4, the first of them one pixel outside
    assert out.shape == (2, 48, 4, 4)
    for channel in range(3):
        for row, column in ((1, 1), (2, 1), (1, 2)):
            top, left = 2 * row - 1, 2 * column - 1
            waves = dctn(x[1, channel, top : top + 4, left : left + 4].numpy(), norm="ortho")
            got = out[1, 16 * channel : 16 * (channel + 1), row, column]
            torch.testing.assert_close(got, torch.from_numpy(waves).flatten(), rtol=1e-4, atol=1e-5)


def test_whatever_the_contrast_the_waves_leave_with_the_same_strength():
    net = models.create("convscope_s").train()
    ramp = torch.linspace(-1, 1, 28).expand(1, 28, 28)
    x = 40 * torch.randn(64, 1, 28, 28, generator=torch.Generator().manual_seed(3)) + 9 * ramp
    whitened = net.stem[1](net.stem[0](x))
    torch.testing.assert_close(whitened.var(dim=(0, 2, 3), unbiased=False), torch.ones(16), rtol=1e-3, atol=0)
    covariance = whitened.transpose(0, 1).flatten(1).cov()
    assert (covariance - covariance.diag().diag()).abs().max() < 0.1
    positive, negative = net.stem(x).chunk(2, dim=1)
    torch.testing.assert_close(positive - negative, net.stem[1](net.stem[0](x)))


def test_training_changes_every_layer_but_the_waves():
    torch.manual_seed(4)
    net = models.create("convscope_m").train()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    nn.functional.cross_entropy(net(torch.randn(16, 1, 28, 28)), torch.arange(16) % 10).backward()
    optimizer.step()
    same = [key for key, value in net.state_dict().items() if torch.equal(value, before[key])]
    assert same == ["stem.0.kernels"]
    assert net.stem(torch.randn(2, 1, 28, 28)).grad_fn is None  # which is why the first layer is cheap


def test_a_gradient_still_reaches_the_picture():
    net = models.create("convscope_l").eval()
    x = torch.randn(1, 1, 28, 28, requires_grad=True)
    net(x)[0, 3].backward()
    assert x.grad is not None
    assert x.grad.abs().max() > 0


@pytest.mark.parametrize(
    ("name", "sides"),
    [("convscope_s", [14, 7, 7, 3]), ("convscope_m", [14, 7, 7, 3, 3]), ("convscope_l", [14, 7, 7, 3, 3])],
)
def test_sides_of_the_maps(name, sides):
    net = models.create(name)
    x = net.stem(torch.zeros(2, 1, 28, 28))
    seen = [x.shape[2]]
    for block in net.features:
        x = block(x)
        seen.append(x.shape[2])
    assert seen == sides


def test_photographs_begin_with_larger_patches():
    kernels = {size: models.create("convscope_s", image_size=size).stem[0].kernels.shape for size in (64, 65)}
    assert kernels == {64: (16, 1, 4, 4), 65: (16, 1, 16, 16)}
    with pytest.raises(ValueError, match="stem='imagenet' needs images of at least 32x32 pixels"):
        models.create("convscope_s", stem="imagenet", image_size=28)
