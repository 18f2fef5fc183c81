"""Ranks by singular values; probes by scikit-learn run directly, and by a layer that makes a problem easy."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import RidgeClassifierCV
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from convscope.data import ImageSet, Preprocess
from convscope.measure import effective_rank, linear_probes


@given(st.integers(2, 30), st.integers(1, 30), st.integers(1, 30), st.integers(0, 1000))
def test_the_rank_equals_that_of_the_singular_values(count, features, true_rank, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, true_rank, generator=generator) @ torch.randn(true_rank, features, generator=generator)
    x = x.double()
    values = torch.linalg.svdvals(x - x.mean(0))
    weights = values / values.sum()
    weights = weights[weights > 1e-9]
    expected = math.exp(-(weights * weights.log()).sum().item())
    assert effective_rank(x) == pytest.approx(expected, rel=1e-3)
    assert effective_rank(x + 5) == pytest.approx(effective_rank(x), rel=1e-3)
    assert effective_rank(3 * x) == pytest.approx(effective_rank(x), rel=1e-6)


@pytest.mark.parametrize("k", [1, 2, 7])
def test_equal_directions_are_counted(k):
    x = torch.zeros(2 * k, 9)
    x[:k, :k], x[k:, :k] = torch.eye(k), -torch.eye(k)
    assert effective_rank(x) == pytest.approx(k)


def test_constant_features_have_no_direction():
    assert effective_rank(torch.full((6, 4), 0.1)) == 0
    assert effective_rank(torch.zeros(6, 4)) == 0
    with pytest.raises(ValueError, match="finite features of at least two images"):
        effective_rank(torch.zeros(1, 4))
    with pytest.raises(ValueError, match="finite features"):
        effective_rank(torch.full((3, 4), float("nan")))


SEEN = Preprocess((1, 2), (0.5,), (0.5,))


def exclusive_or(count: int, seed: int) -> ImageSet:
    """Two pixels; the class says whether exactly one is bright. No linear classifier can tell."""
    generator = torch.Generator().manual_seed(seed)
    bits = torch.randint(0, 2, (count, 2), generator=generator)
    noise = torch.randint(-40, 40, (count, 2), generator=generator)
    pixels = (60 + 130 * bits + noise).to(torch.uint8).view(count, 1, 1, 2)
    return ImageSet(pixels, (bits[:, 0] ^ bits[:, 1]).long(), ("same", "other"))


class Folds(nn.Module):
    """One layer that folds the plane so that the classes lie apart, and one that throws everything away."""

    def __init__(self) -> None:
        super().__init__()
        self.fold, self.drop = nn.Identity(), nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        folded = self.fold(flat[:, :1] * flat[:, 1:])
        return self.drop(0 * folded)


def test_a_layer_that_makes_the_problem_easy_is_seen():
    pixels, fold, drop = linear_probes(Folds(), exclusive_or(400, 0), exclusive_or(300, 1), SEEN)
    assert (pixels.layer, fold.layer, drop.layer) == ("pixels", "fold", "drop")
    assert pixels.accuracy.value < 0.75
    assert fold.accuracy.value > 0.99
    assert 0.35 < drop.accuracy.value < 0.65
    assert (fold.features, drop.effective_rank) == (1, 0)
    assert fold.effective_rank == pytest.approx(1)
    assert fold.accuracy.total == 300


def blobs(count: int, seed: int) -> ImageSet:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    noise = torch.randint(0, 200, (count, 1, 6, 6), generator=generator)
    noise[torch.arange(count), 0, labels, labels] += 55
    return ImageSet(noise.to(torch.uint8), labels, ("a", "b", "c"))


def test_the_baseline_equals_scikit_learn_on_the_pixels():
    train, test, seen = blobs(120, 0), blobs(90, 1), Preprocess((6, 6), (0.4,), (0.2,))
    rows = linear_probes(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten()), train, test, seen, batch_size=50)
    scale = StandardScaler().fit(seen(train.images).flatten(1).double().numpy())
    learned, judged = (scale.transform(seen(s.images).flatten(1).double().numpy()) for s in (train, test))
    classifier = RidgeClassifierCV(alphas=[0.1, 1, 10, 100, 1000, 10_000, 100_000]).fit(learned, train.labels.numpy())
    assert rows[0].accuracy.count == int((classifier.predict(judged) == test.labels.numpy()).sum())
    assert rows[0].effective_rank == pytest.approx(effective_rank(seen(train.images)))
    assert [row.layer for row in rows] == ["pixels", "0"]  # flattening repeats the layer before, and is left out


def test_large_maps_are_averaged_and_it_is_said():
    train, test, seen = blobs(60, 0), blobs(30, 1), Preprocess((6, 6), (0.4,), (0.2,))
    model = nn.Sequential(nn.Conv2d(1, 4, 1), nn.AdaptiveAvgPool2d(2))
    pixels, conv, pool = linear_probes(model, train, test, seen, most_features=36)
    assert (pixels.features, pixels.pooled) == (36, False)
    assert (conv.features, conv.pooled) == (36, True)
    assert (pool.features, pool.pooled) == (16, False)
    assert pixels.to_dict()["accuracy"]["total"] == 30


def test_what_cannot_be_probed_gets_one_sentence():
    train, test, seen = blobs(12, 0), blobs(9, 1), Preprocess((6, 6), (0.4,), (0.2,))
    with pytest.raises(ValueError, match="have different classes"):
        linear_probes(nn.Flatten(), train, ImageSet(test.images, test.labels, ("x", "y", "z")), seen)
    with pytest.raises(ValueError, match="training images of at least two classes"):
        linear_probes(nn.Flatten(), train.take(torch.tensor([0, 3])), test, seen)
    with pytest.raises(ValueError, match="unknown layer 'top'"):
        linear_probes(nn.Sequential(nn.Flatten()), train, test, seen, ["top"])
    broken = nn.Sequential(nn.Conv2d(1, 2, 3))
    broken[0].bias.data[0] = float("nan")
    with pytest.raises(ValueError, match="layer '0' gives NaN or infinity, so nothing can be read off it"):
        linear_probes(broken, train, test, seen)
