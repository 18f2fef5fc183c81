"""Gradients and Grad-CAM by closed forms, by finite differences, and by Captum where it is installed."""

import pytest
import torch
from torch import Tensor, nn

from convscope.measure import grad_cam, input_gradients


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3),
        nn.Tanh(),
        nn.Dropout(0.4),
        nn.Flatten(),
        nn.Linear(72, 4),
    )


X = torch.rand(9, 2, 10, 10, generator=torch.Generator().manual_seed(2))
ASKED = torch.arange(9) % 4


def test_captum_gives_the_same_gradients():
    captum = pytest.importorskip("captum.attr", reason="captum is not installed: pip install --no-deps captum")
    model = network().eval()
    expected = captum.Saliency(model).attribute(X.clone().requires_grad_(), target=ASKED, abs=False)
    torch.testing.assert_close(input_gradients(model, X, ASKED, batch_size=4), expected.detach())


@pytest.mark.parametrize("layer", ["0", "2", "4", "5"])
def test_captum_gives_the_same_grad_cam(layer):
    captum = pytest.importorskip("captum.attr", reason="captum is not installed: pip install --no-deps captum")
    model = network().eval()
    expected = captum.LayerGradCam(model, model[int(layer)]).attribute(X, target=ASKED, relu_attributions=True)
    found = grad_cam(model, X, layer, ASKED, batch_size=4)
    torch.testing.assert_close(found.maps, expected.detach()[:, 0])
    assert found.maps.amax() > 0


def test_gradients_are_slopes():
    model = network().eval()
    gradients = input_gradients(model, X[:1], torch.tensor([2]))
    double = network().double().eval()
    for place in [(0, 0, 0, 0), (0, 1, 4, 7), (0, 0, 9, 3)]:
        step = torch.zeros(1, 2, 10, 10, dtype=torch.float64)
        step[place] = 1e-5
        slope = (double(X[:1].double() + step) - double(X[:1].double() - step))[0, 2] / 2e-5
        assert gradients[place].item() == pytest.approx(slope.item(), rel=1e-3, abs=1e-5)


def test_the_winner_is_asked_for_when_nobody_is_named():
    model = network().eval()
    said = model(X).argmax(1)
    assert torch.equal(input_gradients(model, X), input_gradients(model, X, said))
    found = grad_cam(model, X)
    assert found.layer == "4"
    assert torch.equal(found.targets, said)


def test_with_a_global_average_grad_cam_is_the_weighted_sum_of_maps():
    torch.manual_seed(0)
    conv, head = nn.Conv2d(1, 5, 3), nn.Linear(5, 3)
    model = nn.Sequential(conv, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)
    x = torch.rand(4, 1, 9, 9)
    targets = torch.tensor([0, 1, 2, 0])
    weighted = torch.einsum("nk,nkhw->nhw", head.weight[targets], conv(x)) / 49  # 7x7 places share each weight
    torch.testing.assert_close(grad_cam(model, x, "0", targets).maps, weighted.relu().detach())


def test_a_layer_that_works_in_place_changes_nothing():
    usual, inplace = network(), network()
    inplace[2] = nn.ReLU(inplace=True)
    torch.testing.assert_close(grad_cam(usual, X, "1").maps, grad_cam(inplace, X, "1").maps)
    torch.testing.assert_close(input_gradients(usual, X), input_gradients(inplace, X))


def test_enlarged_maps_have_the_size_of_the_image_and_end_at_one():
    large = grad_cam(network(), X, "4").enlarged((10, 10))
    assert large.shape == (9, 10, 10)
    filled = large.amax((1, 2)) > 0
    torch.testing.assert_close(large.amax((1, 2))[filled], torch.ones(int(filled.sum())))


def test_frozen_models_and_callers_without_gradients_are_served():
    model = network().requires_grad_(False)
    expected = input_gradients(network(), X)
    with torch.no_grad():
        torch.testing.assert_close(input_gradients(model, X), expected)
    with torch.inference_mode():
        torch.testing.assert_close(input_gradients(model, X), expected)
        assert grad_cam(model, X).maps.shape == (9, 3, 3)


class Flat(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros(len(x), 3)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: grad_cam(network(), X, "44"), "unknown layer '44'; did you mean '4'"),
        (lambda: grad_cam(network(), X, "8"), r"layer '8' gives no feature maps \(N, c, h, w\), but \(9, 4\)"),
        (lambda: grad_cam(nn.Sequential(nn.Flatten(), nn.Linear(200, 2)), X), "has no convolution"),
        (lambda: grad_cam(network(), X[:0]), "expected at least one image, got none"),
        (lambda: input_gradients(network(), X, torch.zeros(3).long()), r"each of 9 images, got shape \(3,\)"),
        (lambda: input_gradients(network(), X, ASKED + 1), r"expected targets in 0\.\.3, got 1\.\.4"),
        (lambda: input_gradients(Flat(), X), "do not hang on the images by any operation that has a gradient"),
    ],
)
def test_what_cannot_be_explained_gets_one_sentence(call, said):
    with pytest.raises(ValueError, match=said):
        call()


def test_a_side_branch_that_no_score_hangs_on_is_named():
    class Side(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.main, self.side, self.idle = nn.Conv2d(2, 3, 1), nn.Conv2d(2, 3, 1), nn.Conv2d(2, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            self.side(x)
            return self.main(x).mean((2, 3))

    with pytest.raises(ValueError, match="the scores do not hang on what layer 'side' gives last"):
        grad_cam(Side(), X, "side")
    with pytest.raises(ValueError, match="layer 'idle' does not run"):
        grad_cam(Side(), X, "idle")


class Backwards(nn.Module):
    """Declares its convolutions in another order than they run, one never runs, and one runs twice."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.twice = nn.Conv2d(2, 2, 3, padding=1)
        self.first = nn.Conv2d(2, 2, 3, padding=1)
        self.never = nn.Conv2d(2, 2, 3)
        self.head = nn.Linear(2, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.twice(self.first(x))
        return self.head(self.twice(x.relu()).mean((2, 3)))


def test_the_default_layer_is_the_last_convolution_that_runs_at_its_last_run():
    model, x = Backwards(), torch.rand(3, 2, 6, 6)
    cam = grad_cam(model, x, targets=torch.tensor([1, 2, 3]))
    assert cam.layer == "twice"
    last = model.twice(model.twice(model.first(x)).relu())
    weight = model.head.weight[[1, 2, 3]] / 36  # the gradient of a mean over 36 places
    torch.testing.assert_close(cam.maps, torch.einsum("nc,nchw->nhw", weight, last).relu().detach())


def test_a_network_whose_convolutions_never_run_gets_one_sentence():
    class Idle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.idle = nn.Conv2d(2, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return x.mean((2, 3))

    with pytest.raises(ValueError, match="no convolution of Idle runs when it is given images; name a layer"):
        grad_cam(Idle(), X)
