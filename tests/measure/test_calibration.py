"""Calibration by scikit-learn's own curve and by numbers worked out on paper; intervals by SciPy."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.calibration import calibration_curve
from sklearn.metrics import top_k_accuracy_score

from convscope.measure import Evaluation, Mean, Share, calibration, wilson


@st.composite
def judged(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor]:
    count, classes = draw(st.integers(1, 60)), draw(st.integers(2, 6))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10_000)))
    scores = draw(st.sampled_from([0.3, 1.0, 4.0])) * torch.randn(count, classes, generator=generator)
    return scores.softmax(1), torch.randint(0, classes, (count,), generator=generator)


@given(judged(), st.integers(1, 20))
def test_bins_equal_those_of_scikit_learn(case, bins):
    probabilities, labels = case
    result = calibration(probabilities, labels, bins=bins)
    confidence, said = probabilities.double().max(1)
    right = (said == labels).long()
    true, promised = calibration_curve(right.numpy(), confidence.numpy(), n_bins=bins, pos_label=1)
    filled = [each for each in result.bins if each.count]
    assert [each.accuracy for each in filled] == pytest.approx(true.tolist())
    assert [each.confidence for each in filled] == pytest.approx(promised.tolist())
    assert sum(each.count for each in result.bins) == result.total == len(labels)
    weights = np.array([each.count for each in filled]) / len(labels)
    assert result.expected_error == pytest.approx(float((weights * np.abs(true - promised)).sum()))
    assert result.largest_error == pytest.approx(float(np.abs(true - promised).max()))
    assert result.overconfidence == pytest.approx(float(confidence.mean()) - float(right.double().mean()), abs=1e-9)


def test_a_worked_example():
    # Two bins: 4 images at 0.6 of which 3 are right, 6 at 0.9 of which 3 are right: 0.4 * 0.15 + 0.6 * 0.4 = 0.3.
    probabilities = torch.tensor([[0.6, 0.4]] * 4 + [[0.9, 0.1]] * 6, dtype=torch.float64)
    labels = torch.tensor([0, 0, 0, 1, 0, 0, 0, 1, 1, 1])
    result = calibration(probabilities, labels, bins=5)
    assert [each.count for each in result.bins] == [0, 0, 4, 0, 6]
    assert result.expected_error == pytest.approx(0.3)
    assert result.largest_error == pytest.approx(0.4)
    assert result.overconfidence == pytest.approx(0.4 * -0.15 + 0.6 * 0.4)


def test_a_perfect_promise_has_no_error_and_a_value_on_an_edge_lies_below_it():
    result = calibration(torch.tensor([[0.5, 0.5], [0.5, 0.5]]), torch.tensor([0, 1]), bins=2)
    assert [each.count for each in result.bins] == [2, 0]
    assert result.expected_error == 0


@pytest.mark.parametrize(
    ("probabilities", "labels", "bins", "said"),
    [
        (torch.ones(2, 2) / 2, torch.zeros(2).long(), 0, "bins must be at least 1, got 0"),
        (torch.ones(0, 2), torch.zeros(0).long(), 5, "of at least one image"),
        (torch.ones(2, 2) / 2, torch.zeros(3).long(), 5, r"got \(2, 2\) and \(3,\)"),
    ],
)
def test_what_cannot_be_counted_is_refused(probabilities, labels, bins, said):
    with pytest.raises(ValueError, match=said):
        calibration(probabilities, labels, bins=bins)


@given(judged(), st.integers(1, 6))
def test_top_k_equals_scikit_learn(case, k):
    probabilities, labels = case
    classes = probabilities.shape[1]
    result = Evaluation(probabilities, labels, tuple(map(str, range(classes))))
    if k > classes:
        with pytest.raises(ValueError, match=f"top-k must be 1 to {classes}, the number of classes; got {k}"):
            result.top_k(k)
        return
    if classes == 2 or k == classes:  # where scikit-learn wants another form, or warns that the answer is 1
        expected = 1.0 if k == classes else result.accuracy
    else:
        expected = top_k_accuracy_score(labels.numpy(), probabilities.numpy(), k=k, labels=range(classes))
    assert result.top_k(k).value == pytest.approx(expected)
    assert result.top_k(1).count == round(result.accuracy * len(result))


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_equals_scipy(case):
    count, total = case
    expected = stats.binomtest(count, total).proportion_ci(method="wilson")
    assert wilson(count, total) == pytest.approx((expected.low, expected.high), abs=1e-9)
    low, high = Share(count, total).interval
    assert 0 <= low <= count / total <= high <= 1


@pytest.mark.parametrize(("count", "total"), [(1, 0), (3, 2), (-1, 4)])
def test_a_count_out_of_range_is_refused(count, total):
    with pytest.raises(ValueError, match=f"got {count} of {total}"):
        wilson(count, total)


def test_the_interval_of_a_mean_equals_scipy():
    values = torch.tensor([0.3, 0.9, 0.1, 0.4, 0.4], dtype=torch.float64)
    expected = stats.t.interval(0.95, 4, loc=values.mean().item(), scale=stats.sem(values.numpy()))
    assert Mean.of(values).interval == pytest.approx(expected)
    alone = Mean.of(torch.tensor([2.0]))
    assert (alone.value, alone.reach, alone.to_dict()["interval"]) == (2.0, math.inf, None)
    with pytest.raises(ValueError, match="no mean of no values"):
        Mean.of(torch.empty(0))


@pytest.mark.parametrize(("count", "total"), [(0, 7), (7, 7), (1, 1), (3, 11), (81, 263), (9999, 10000)])
def test_wilson_solves_its_own_equation(count, total):
    # Wilson's limits are the shares p at which the observed one lies 1.96 of their own deviations away.
    z = stats.norm.ppf(0.975)
    seen = count / total
    a, b, c = 1 + z * z / total, -(2 * seen + z * z / total), seen * seen
    roots = sorted(np.roots([a, b, c]).real)
    assert wilson(count, total) == pytest.approx(roots, abs=1e-7)
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)  # Newcombe 1998, table I, method 3
