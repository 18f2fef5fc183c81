import pytest
import torch
from PIL import Image
from torch import nn

from convscope import data, models
from convscope.deploy import Classifier, make_model, restore_model
from convscope.errors import RunError
from convscope.files import write_json
from convscope.measure import predict
from convscope.train import Run, TrainConfig, Trainer


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    dataset = data.load("digits")
    torch.manual_seed(0)
    model = models.create("lenet")
    out = tmp_path_factory.mktemp("deploy") / "run"
    return Trainer(TrainConfig(epochs=2, image_size=28)).fit(model, dataset, out=out), model, dataset


def test_a_run_gives_its_network_back(run):
    run, model, _ = run
    again = restore_model(Run.open(run.path))
    assert not again.training
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())


def test_photographs_go_through_what_training_images_went_through(run, tmp_path):
    """The test images, saved as files, must get the very probabilities that the tensors get."""
    run, model, dataset = run
    files = []
    for number, image in enumerate(dataset.test.images[:12]):
        files.append(tmp_path / f"{number}.png")
        Image.fromarray(image[0].numpy()).save(files[-1])
    expected = predict(model, dataset.test.images[:12], run.preprocess)
    answers = Classifier.open(run.path).predict(files, top=10)
    for row, answer in zip(expected, answers, strict=True):
        assert answer.error is None
        said = {guess.name: guess.probability for guess in answer.guesses}
        assert [said[name] for name in dataset.classes] == pytest.approx(row.tolist(), abs=1e-6)
        assert [g.probability for g in answer.guesses] == sorted(said.values(), reverse=True)


def test_a_colour_photograph_of_any_shape_is_answered(run, tmp_path):
    run, _, _ = run
    Image.new("RGB", (300, 120), (200, 40, 90)).save(tmp_path / "wide.jpg")
    (answer,) = Classifier.open(run.path).predict([tmp_path / "wide.jpg"])
    assert len(answer.guesses) == 3
    assert sum(guess.probability for guess in answer.guesses) <= 1 + 1e-6


def test_an_unreadable_file_is_named_and_the_rest_is_answered(run, tmp_path):
    run, _, _ = run
    (tmp_path / "text.png").write_text("not an image")
    Image.new("L", (8, 8)).save(tmp_path / "good.png")
    answers = Classifier.open(run.path).predict([tmp_path / "text.png", tmp_path / "none.png", tmp_path / "good.png"])
    assert [bool(answer.error) for answer in answers] == [True, True, False]
    assert "text.png" in str(answers[0].error)
    assert "none.png" in str(answers[1].error)
    assert answers[2].guesses


def test_what_cannot_be_made_again_says_so(run, tmp_path):
    run, _, dataset = run
    with pytest.raises(ValueError, match="--top must be at least 1, got 0"):
        Classifier.open(run.path).predict([], top=0)
    own = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    mine = Trainer(TrainConfig(epochs=1)).fit(own, dataset, out=tmp_path / "own")
    with pytest.raises(
        RunError, match=r"your own class torch\.nn\.modules\.container:Sequential: only Python can make one"
    ):
        make_model(mine)
    assert restore_model(mine, model=own) is own
    config = {**run.config, "model": {**run.config["model"], "name": "lenet-9000"}}
    write_json(tmp_path / "own" / "config.json", config)
    with pytest.raises(RunError, match="names a network that cannot be made: unknown model 'lenet-9000'"):
        make_model(Run.open(tmp_path / "own"))
