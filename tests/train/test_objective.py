"""Losses are what their definitions say, written out with logarithms and sums."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from convscope.train import Classification

N, K = 6, 4


class Fixed(nn.Module):
    """Gives these scores whatever it sees."""

    def __init__(self, scores):
        super().__init__()
        self.scores = nn.Parameter(scores)

    def forward(self, x):
        return self.scores


def drawn(seed):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(N, K, generator=generator)
    labels = torch.randint(0, K, (N,), generator=generator)
    shares = torch.rand(N, K, generator=generator)
    return scores, labels, shares / shares.sum(1, keepdim=True), torch.rand(K, generator=generator) + 0.1


def by_hand(scores, shares, smoothing=0.0, weights=None):
    total = 0.0
    for row, share in zip(scores.double().tolist(), shares.double().tolist(), strict=True):
        normaliser = math.log(sum(math.exp(s) for s in row))
        for k, (score, q) in enumerate(zip(row, share, strict=True)):
            target = (1 - smoothing) * q + smoothing / K
            total -= (1.0 if weights is None else float(weights[k])) * target * (score - normaliser)
    return total / len(scores)


@given(st.integers(0, 10**6), st.floats(0, 0.9), st.booleans(), st.booleans())
def test_the_training_loss_is_the_definition(seed, smoothing, mixed, weighted):
    scores, labels, shares, weights = drawn(seed)
    targets = shares if mixed else labels
    shares = shares if mixed else nn.functional.one_hot(labels, K).float()
    weights = weights if weighted else None
    outcome = Classification(smoothing, weights).training(Fixed(scores), torch.zeros(N, 1, 2, 2), targets)
    expected = by_hand(scores, shares, smoothing, weights)
    assert outcome.loss.item() == pytest.approx(expected, rel=1e-5)
    assert outcome.sums["loss"].item() == pytest.approx(N * expected, rel=1e-5)
    assert outcome.images == N
    right = sum(int(s.argmax() == q.argmax()) for s, q in zip(scores, shares, strict=True))
    assert outcome.sums["accuracy"].item() == right


@pytest.mark.parametrize("mixed", [False, True])
def test_evaluation_is_plain(mixed):
    scores, labels, shares, weights = drawn(1)
    outcome = Classification(0.3, weights).evaluation(Fixed(scores), torch.zeros(N), shares if mixed else labels)
    plain = by_hand(scores, shares if mixed else nn.functional.one_hot(labels, K).float())
    assert outcome.loss.item() == pytest.approx(plain, rel=1e-5)


def test_labels_are_shares_with_a_single_one():
    scores, labels, _, weights = drawn(2)
    gradients = []
    for targets in (labels, nn.functional.one_hot(labels, K).float()):
        model = Fixed(scores.clone())
        Classification(0.1, weights).training(model, torch.zeros(N), targets).loss.backward()
        gradients.append(model.scores.grad)
    torch.testing.assert_close(*gradients)


def test_a_weighted_batch_is_its_parts():
    """Divided by images and not by their weights: halves of a batch, whoever computes them, add up to the whole."""
    scores, labels, _, weights = drawn(3)
    objective = Classification(0.1, weights)
    whole = objective.training(Fixed(scores), torch.zeros(N), labels).loss
    parts = [objective.training(Fixed(scores[s]), torch.zeros(3), labels[s]).loss for s in (slice(0, 3), slice(3, 6))]
    torch.testing.assert_close(sum(parts) / 2, whole)


def test_a_class_of_weight_zero_teaches_nothing():
    model = Fixed(torch.randn(2, 2))
    objective = Classification(class_weights=torch.tensor([0.0, 1.0]))
    objective.training(model, torch.zeros(2), torch.tensor([0, 1])).loss.backward()
    assert model.scores.grad[0].tolist() == [0, 0]
    assert model.scores.grad[1].any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_scores_have_a_float32_loss(dtype):
    scores, labels, _, weights = drawn(4)
    half = scores.to(dtype)
    for objective in (Classification(), Classification(0.1, weights)):
        for outcome in (
            objective.training(Fixed(half), torch.zeros(N), labels),
            objective.evaluation(Fixed(half), torch.zeros(N), labels),
        ):
            assert outcome.loss.dtype == outcome.sums["loss"].dtype == torch.float32
    outcome = Classification().training(Fixed(half), torch.zeros(N), labels)
    exact = by_hand(half.float(), nn.functional.one_hot(labels, K).float())
    assert outcome.loss.item() == pytest.approx(exact, rel=1e-6)


def test_autocast_does_not_reach_the_loss():
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, K))
    with torch.autocast("cpu", torch.bfloat16):
        outcome = Classification(0.1).training(model, torch.randn(N, 1, 2, 2), torch.arange(N) % K)
    assert outcome.loss.dtype == torch.float32
    outcome.loss.backward()
    assert model[1].weight.grad.dtype == torch.float32


def test_double_stays_double():
    scores, labels, _, weights = drawn(5)
    outcome = Classification(0.1, weights).training(Fixed(scores.double()), torch.zeros(N), labels)
    assert outcome.loss.dtype == torch.float64


@pytest.mark.parametrize("weights", [[[1.0]], [1.0, -1.0], [0.0, 0.0], [1.0, math.nan], [1.0, math.inf]])
def test_weights_that_are_none_are_refused(weights):
    with pytest.raises(ValueError, match="expected one class weight for each class"):
        Classification(class_weights=torch.tensor(weights))


def test_as_many_weights_as_classes():
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    objective = Classification(class_weights=torch.ones(2))
    with pytest.raises(ValueError, match="expected 3 class weights, one for each class, got 2"):
        objective.check(model, torch.zeros(2, 1, 2, 2), 3)
