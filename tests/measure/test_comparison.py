"""McNemar's test by SciPy, by hand, and by published numbers."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import nn

from convscope.data import ImageSet, Preprocess
from convscope.measure import Evaluation, compare, evaluate
from convscope.measure.comparison import mcnemar


def judged(right: list[bool], labels: torch.Tensor | None = None) -> Evaluation:
    """Two classes; right or wrong as told."""
    labels = torch.arange(len(right)) % 2 if labels is None else labels
    said = torch.where(torch.tensor(right), labels, 1 - labels)
    return Evaluation(torch.eye(2)[said], labels, ("cat", "dog"))


def pair(both: int, first: int, second: int, none: int) -> tuple[Evaluation, Evaluation]:
    a = [True] * both + [True] * first + [False] * second + [False] * none
    b = [True] * both + [False] * first + [True] * second + [False] * none
    return judged(a), judged(b)


@given(st.integers(0, 24).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_few_images_get_the_exact_probability(case):
    only_first, discordant = case
    p_value, test = mcnemar(only_first, discordant - only_first)
    assert test == "exact binomial"
    tail = sum(math.comb(discordant, k) for k in range(min(only_first, discordant - only_first) + 1)) / 2**discordant
    assert p_value == pytest.approx(min(1.0, 2 * tail))


@pytest.mark.parametrize(
    ("only_first", "only_second", "statistic"),
    [(121, 59, 61**2 / 180), (10, 20, 9**2 / 30), (13, 12, 0.0), (30, 30, 0.0), (0, 25, 24**2 / 25)],
)
def test_many_images_get_chi_square_with_continuity(only_first, only_second, statistic):
    p_value, test = mcnemar(only_first, only_second)
    assert test == "chi-square with continuity correction"
    assert p_value == pytest.approx(math.erfc(math.sqrt(statistic / 2)))  # chi-square of one degree, by its own formula
    assert p_value == pytest.approx(stats.chi2.sf(statistic, 1))
    assert mcnemar(only_second, only_first)[0] == pytest.approx(p_value)


def test_where_the_tests_meet_they_agree():
    for only_first in range(3, 13):
        exact = stats.binomtest(only_first, 25).pvalue
        assert mcnemar(only_first, 25 - only_first)[0] == pytest.approx(exact, abs=0.02)


@given(st.tuples(*[st.integers(0, 30)] * 4).filter(any))
def test_counts_are_those_of_the_pairs(counts):
    result = compare(*pair(*counts))
    assert (result.both_right, result.only_first, result.only_second, result.both_wrong) == counts
    assert result.total == sum(counts)
    a, b = pair(*counts)
    assert result.difference == pytest.approx(b.accuracy - a.accuracy)
    assert result.p_value == mcnemar(counts[1], counts[2])[0]


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ((80, 3, 12, 5), "B is better than A by 9.0 points on the same 100 images: more than chance (p = 0.035,"),
        ((80, 12, 3, 5), "A is better than B by 9.0 points on the same 100 images: more than chance (p = 0.035,"),
        ((90, 2, 4, 4), "B is better than A by 2.0 points on the same 100 images: no more than chance would give"),
        ((90, 3, 3, 4), "A and B are right equally often on the same 100 images: no difference seen (p = 1, "),
        ((9, 0, 0, 1), "A and B are right on exactly the same images, of 10: no difference."),
        ((0, 0, 60, 0), "B is better than A by 100.0 points on the same 60 images: more than chance (p = 3e-14,"),
    ],
)
def test_the_verdict_is_a_plain_sentence(counts, said):
    assert compare(*pair(*counts)).sentence("A", "B").startswith(said)


def test_to_dict_is_json():
    import json

    values = json.loads(json.dumps(compare(*pair(5, 1, 2, 3)).to_dict()))
    assert values["difference"] == pytest.approx(1 / 11)
    assert values["more_than_chance"] is False
    assert values["test"] == "exact binomial"


def test_judgements_of_other_images_or_classes_are_refused():
    a = judged([True, True])
    with pytest.raises(ValueError, match="they judged other images: 2 and 3 images; evaluate both on the same"):
        compare(a, judged([True] * 3))
    with pytest.raises(ValueError, match="of the labels 2 of 2 differ, the first at position 0"):
        compare(a, judged([True, True], torch.tensor([1, 0])))
    with pytest.raises(ValueError, match="they tell other classes apart: cat, dog and cat, emu"):
        compare(a, Evaluation(a.probabilities, a.labels, ("cat", "emu")))


def test_other_images_with_the_same_labels_are_noticed_and_so_is_their_order():
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (6, 1, 4, 4), dtype=torch.uint8, generator=generator)
    model, seen = nn.Sequential(nn.Flatten(), nn.Linear(16, 2)), Preprocess((4, 4), (0.5,), (0.5,))

    def judge(images: torch.Tensor) -> Evaluation:
        return evaluate(model, ImageSet(images, torch.tensor([0, 1, 0, 1, 0, 1]), ("cat", "dog")), seen)

    swapped, changed = pixels[[0, 3, 2, 1, 4, 5]], pixels.clone()
    changed[4, 0, 3, 3] += 1
    assert compare(judge(pixels), judge(pixels.clone())).total == 6
    with pytest.raises(ValueError, match="they judged other images: the same 6 images in another order"):
        compare(judge(pixels), judge(swapped))
    with pytest.raises(ValueError, match="of the images 1 of 6 differ, the first at position 4; evaluate both on the"):
        compare(judge(pixels), judge(changed))
    larger = pixels.repeat_interleave(2, 2).repeat_interleave(2, 3)  # the same, stored at another size
    assert compare(judge(pixels), judge(larger)).total == 6
