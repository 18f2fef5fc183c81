import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from convscope.data import ImageSet, Preprocess
from convscope.measure import Evaluation, evaluate, predict

CLASSES = ("cat", "dog", "emu")


@st.composite
def evaluations(draw: st.DrawFn) -> Evaluation:
    count = draw(st.integers(1, 40))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10_000)))
    scores = torch.randn(count, 3, generator=generator)
    return Evaluation(scores.softmax(1), torch.randint(0, 3, (count,), generator=generator), CLASSES)


@given(evaluations())
def test_numbers_equal_those_counted_by_hand(result):
    said, true = result.predictions.tolist(), result.labels.tolist()
    pairs = list(zip(true, said, strict=True))
    assert result.accuracy == pytest.approx(sum(t == s for t, s in pairs) / len(pairs))
    assert result.confusion.tolist() == [[pairs.count((t, s)) for s in range(3)] for t in range(3)]
    for label, score in enumerate(result.per_class):
        hits, called, are = pairs.count((label, label)), said.count(label), true.count(label)
        assert score.support == are
        assert score.precision == pytest.approx(hits / called if called else 0)
        assert score.recall == pytest.approx(hits / are if are else 0)
        both = score.precision + score.recall
        assert score.f1 == pytest.approx(2 * score.precision * score.recall / both if both else 0)
    expected = F.nll_loss(result.probabilities.double().log(), result.labels)
    assert result.loss == pytest.approx(expected.item(), rel=1e-6)


@given(evaluations())
def test_mistakes_are_all_wrong_and_the_most_confident_come_first(result):
    mistakes = result.mistakes(1000)
    assert len(mistakes) == len(result) - round(result.accuracy * len(result))
    assert [m.confidence for m in mistakes] == sorted((m.confidence for m in mistakes), reverse=True)
    for mistake in mistakes:
        assert mistake.true == CLASSES[result.labels[mistake.index]]
        assert mistake.said == CLASSES[result.predictions[mistake.index]] != mistake.true
    assert result.mistakes(2) == mistakes[:2]


def test_probabilities_do_not_depend_on_the_batch_and_the_mode_is_put_back():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten(), nn.Linear(144, 3))
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    images = torch.randint(0, 256, (23, 1, 8, 8), dtype=torch.uint8)
    preprocess = Preprocess((8, 8), (0.5,), (0.2,))
    one, all_at_once = (predict(model, images, preprocess, batch_size=size) for size in (1, 100))
    torch.testing.assert_close(one, all_at_once)
    torch.testing.assert_close(all_at_once.sum(1), torch.ones(23))
    expected = model.eval()((images.float() / 255 - 0.5) / 0.2).softmax(1)
    torch.testing.assert_close(all_at_once, expected)
    model.train()
    predict(model, images, preprocess)
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_a_model_for_other_classes_is_refused():
    images = ImageSet(torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 1]), CLASSES)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))
    with pytest.raises(ValueError, match="the model gives 4 scores and the images have 3 classes"):
        evaluate(model, images, Preprocess((8, 8), (0.0,), (1.0,)))


def test_to_dict_has_accuracy_first_and_is_json():
    import json

    result = Evaluation(torch.eye(3), torch.tensor([0, 1, 1]), CLASSES)
    values = json.loads(json.dumps(result.to_dict()))
    assert next(iter(values)) == "accuracy"
    assert values["accuracy"] == pytest.approx(2 / 3)
    assert values["per_class"][1] == {
        "name": "dog",
        "precision": 1.0,
        "recall": 0.5,
        "f1": pytest.approx(2 / 3),
        "support": 2,
    }


def test_to_dict_tells_interval_calibration_and_top_k():
    result = Evaluation(torch.tensor([[0.6, 0.3, 0.1]] * 4), torch.tensor([0, 0, 1, 2]), CLASSES)
    values = result.to_dict(top_k=2)
    assert values["accuracy_interval"] == list(result.share_right.interval)
    assert values["accuracy_interval"][0] < values["accuracy"] == 0.5 < values["accuracy_interval"][1]
    assert (values["top_k"]["k"], values["top_k"]["value"]) == (2, 0.75)
    assert values["calibration"]["expected_calibration_error"] == pytest.approx(0.1)
    assert "top_k" not in result.to_dict()


def test_every_module_gets_its_own_mode_back():
    frozen = nn.BatchNorm2d(4).eval()
    model = nn.Sequential(nn.Conv2d(1, 4, 3), frozen, nn.Dropout(), nn.Flatten(), nn.Linear(144, 3))
    predict(model, torch.zeros(2, 1, 8, 8, dtype=torch.uint8), Preprocess((8, 8), (0.5,), (0.2,)))
    assert model.training
    assert model[0].training
    assert not frozen.training


def test_a_model_that_gives_no_scores_gets_one_sentence():
    class Odd(nn.Module):
        def __init__(self, answer):
            super().__init__()
            self.answer = answer

        def forward(self, x):
            return self.answer

    images, seen = torch.zeros(2, 1, 8, 8, dtype=torch.uint8), Preprocess((8, 8), (0.5,), (0.2,))
    for answer, name in (((torch.zeros(2, 3),), "tuple"), ({"out": torch.zeros(2, 3)}, "dict")):
        with pytest.raises(TypeError, match=rf"one tensor of scores \(N, K\), got a {name}; wrap it in a module"):
            predict(Odd(answer), images, seen)
    with pytest.raises(ValueError, match=r"scores \(N, K\) for 2 images, got shape \(2, 3, 1, 1\)"):
        predict(Odd(torch.zeros(2, 3, 1, 1)), images, seen)
    with pytest.raises(ValueError, match="expected at least one image, got none"):
        predict(Odd(torch.zeros(2, 3)), images[:0], seen)
    broken = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    broken[1].bias.data[1] = float("nan")
    with pytest.raises(
        ValueError, match=r"scores that are no numbers: there is NaN or infinity in its weights 1\.bias"
    ):
        predict(broken, images, seen)
    with pytest.raises(ValueError, match="its weights are finite, so the inputs are not, or a layer divides by zero"):
        predict(Odd(torch.full((2, 3), float("inf"))), images, seen)


class Remembering(nn.Module):
    """Keeps its last activations, as attention maps and feature extractors do, and uses them again."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 3)
        self.given: list[torch.Tensor] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores = self.layer(x.flatten(1))
        self.given.append(scores)
        return scores + 0 * self.given[0][:1]


def test_a_module_that_keeps_its_activations_can_be_trained_afterwards():
    model, images = Remembering(), torch.randint(0, 256, (4, 1, 8, 8), dtype=torch.uint8)
    predict(model, images, Preprocess((8, 8), (0.5,), (0.2,)))
    assert not any(kept.is_inference() for kept in model.given)
    F.cross_entropy(model(torch.rand(4, 1, 8, 8)), torch.tensor([0, 1, 2, 0])).backward()
    assert model.layer.weight.grad.abs().sum() > 0


FAR = torch.tensor([[1000.0, -1000.0, 0.0], [-1000.0, 1000.0, 999.0], [0.0, -500.0, 1000.0], [40.0, 0.0, -40.0]])


def test_the_loss_of_far_scores_is_exact():
    result = Evaluation.of_scores(FAR, torch.tensor([1, 2, 0, 0]), CLASSES)
    rest = math.log1p(math.exp(-1))  # of two scores that are 1 apart
    expected = (2000.0 + (1 + rest) + 1000.0 + math.log1p(math.exp(-40) + math.exp(-80))) / 4
    assert result.loss == pytest.approx(expected, rel=1e-12)
    assert result.loss == pytest.approx(F.cross_entropy(FAR.double(), result.labels).item(), rel=1e-12)
    assert math.isfinite(result.to_dict()["loss"])
    sure = Evaluation.of_scores(torch.tensor([[30.0, 0.0]]), torch.tensor([0]), ("cat", "dog"))
    assert sure.loss == pytest.approx(math.log1p(math.exp(-30)), rel=1e-9)  # and not 0, as float32 would have it


def test_scores_rank_classes_and_mistakes_that_probabilities_no_longer_tell_apart():
    result = Evaluation.of_scores(FAR, torch.tensor([1, 2, 0, 1]), CLASSES)
    assert result.probabilities[0].tolist() == [1, 0, 0]
    assert [result.top_k(k).count for k in (1, 2, 3)] == [0, 3, 4]  # the first image's true class is its last
    assert [mistake.index for mistake in result.mistakes(9)] == [0, 2, 3, 1]  # 1000, 1000, 40 and 1 ahead
    assert result.mistakes(1)[0].confidence == 1
    close = torch.nextafter(torch.tensor(8.0), torch.tensor(9.0)).item()
    tied = Evaluation.of_scores(torch.tensor([[8.0, close]]), torch.tensor([1]), ("cat", "dog"))
    assert tied.accuracy == 1
    assert sum(each.right for each in tied.calibration().bins) == 1  # calibration counts the same images as right


@given(evaluations(), st.sampled_from([0.1, 1.0, 30.0, 1000.0]))
def test_calibration_and_mistakes_of_scores_equal_a_loop(result, scale):
    scores = scale * result.probabilities
    result = Evaluation.of_scores(scores, result.labels, CLASSES)
    bins = [[0, 0, 0.0] for _ in range(15)]
    for row, label in zip(scores.double().softmax(1).tolist(), result.labels.tolist(), strict=True):
        sure = max(row)
        place = next(i for i in range(15) if sure <= (i + 1) / 15 or i == 14)
        bins[place] = [
            bins[place][0] + 1,
            bins[place][1] + (row.index(sure) == label),
            bins[place][2] + sure,
        ]
    error = sum(abs(right - promised) for _, right, promised in bins) / len(result)
    assert result.calibration().expected_error == pytest.approx(error, abs=1e-9)
    assert [each.count for each in result.calibration().bins] == [count for count, _, _ in bins]
    confidence = [mistake.confidence for mistake in result.mistakes(1000)]
    assert confidence == sorted(confidence, reverse=True)


def test_the_first_declared_of_equal_scores_leads_in_every_top_k():
    result = Evaluation.of_scores(torch.zeros(3, 3), torch.tensor([0, 1, 2]), CLASSES)
    assert [result.top_k(k).count for k in (1, 2, 3)] == [1, 2, 3]
