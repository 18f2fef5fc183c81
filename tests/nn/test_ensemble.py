"""A network asked twice, about an image and its mirror image."""

import copy

import pytest
import torch
from torch import nn

from convscope.nn import FlipAverage, unwrap


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(), nn.Flatten(), nn.Linear(36, 3))


def test_scores_are_the_mean_of_both_images_one_by_one():
    model = network().eval()
    x = torch.randn(4, 2, 5, 5)
    scores = FlipAverage(model).eval()(x)
    for image, row in zip(x, scores, strict=True):
        mirror = torch.stack([torch.stack([line.flip(0) for line in channel]) for channel in image])
        expected = (model(image[None]) + model(mirror[None]))[0] / 2
        torch.testing.assert_close(row, expected)


def test_probabilities_are_the_geometric_mean():
    model, x = network().eval(), torch.randn(4, 2, 5, 5)
    product = (model(x).softmax(1) * model(x.flip(-1)).softmax(1)).sqrt()
    expected = product / product.sum(1, keepdim=True)
    torch.testing.assert_close(FlipAverage(model).eval()(x).softmax(1), expected)


def test_an_image_and_its_mirror_have_the_same_bits():
    flipping, x = FlipAverage(network()).eval(), torch.randn(4, 2, 5, 5)
    assert torch.equal(flipping(x), flipping(x.flip(-1)))
    assert not torch.equal(flipping.model(x), flipping.model(x.flip(-1)))


def test_training_passes_through():
    model = network().train()
    flipping, other = FlipAverage(model), copy.deepcopy(model)
    assert flipping.training
    x = torch.randn(4, 2, 5, 5)
    torch.manual_seed(1)
    ours = flipping(x)
    torch.manual_seed(1)
    theirs = other(x)
    assert torch.equal(ours, theirs)
    for mine, plain in zip(model.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.equal(mine, plain)


@pytest.mark.parametrize("training", [True, False])
def test_it_has_the_mode_of_its_network_and_shares_its_weights(training):
    model = network().train(training)
    flipping = FlipAverage(model)
    assert flipping.training == model.training == training
    assert [*flipping.parameters()] == [*model.parameters()]
    assert unwrap(flipping) is unwrap(FlipAverage(flipping)) is unwrap(model) is model
