"""The page is harmless, complete in itself, the same every time, and refuses what does not belong together."""

import io
import math
import re

import pytest
import torch
from PIL import Image

from convscope import report as reports
from convscope.errors import RunError
from convscope.measure import Evaluation
from convscope.report.drawings import NAMES
from convscope.train import AugmentConfig, Row, TrainConfig
from report import made
from report.reading import FINISHED, write

EVIL = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=y>',
    "${title} $x$ & co",
    "猫",
    "e\u0301te\u0301\n\x01",
    "--><b>",
)


def test_names_are_text_and_nothing_else(tmp_path):
    page, source, _ = write(tmp_path, made.dataset(EVIL), FINISHED, wrong=6)
    assert "script" not in page.tags
    assert "img" not in page.tags
    assert page.tags.count("b") == 1, "the mark on the bar"
    assert "onerror" in page.text
    assert "<script>alert(1)</script>" in page.text
    assert "${title} $x$ & co" in page.text
    assert "猫" in page.text
    assert "\x01" not in source


def test_a_name_without_glyphs_is_numbered_in_files_and_whole_in_the_page(tmp_path):
    page, source, _ = write(tmp_path, made.dataset(("猫", "犬", "フクロウ")), FINISHED)
    figures = "".join(re.findall(r"<svg.*?</svg>", source, re.DOTALL))
    for name in ("猫", "犬", "フクロウ"):
        assert f">{name}<" in figures
    assert "said 犬" in figures
    assert "class 1" not in page.text


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("count", [2, 10, 100])
def test_any_number_of_classes_and_channels(tmp_path, count: int, channels: int):
    classes = tuple(f"kind {i}" for i in range(count))
    page, source, run = write(tmp_path, made.dataset(classes, channels=channels), FINISHED, wrong=5)
    for name in classes:
        assert name in page.text
    assert len(page.ids) == len(set(page.ids))
    assert len(source) < 1_500_000
    pictures = {path.name for path in (run.path / "plots").iterdir()}
    assert pictures == {f"{name}.png" for name in PLOTS}
    assert page.tags.count("svg") == len(PLOTS)


PLOTS = ("loss", "accuracy", "learning-rate", "confusion", "per-class", "mistakes", "filters", "images")
ALL_PLOTS = (*PLOTS, "gradient-norm", "augmentation")
NORMS = tuple(Row("step", 1, number, {"grad_norm": 2.0 / number}) for number in (5, 10, 15, 20))
AUGMENTED = TrainConfig(epochs=3, augment=AugmentConfig(flip="random"))


def test_plots_are_pictures_with_something_in_them(tmp_path):
    _, _, run = write(tmp_path, made.dataset(), (*NORMS, *FINISHED), config=AUGMENTED)
    for name in ALL_PLOTS:
        content = (run.path / "plots" / f"{name}.png").read_bytes()
        picture = Image.open(io.BytesIO(content))
        picture.verify()
        assert 600 < picture.width < 1300
        assert 150 < picture.height < 1600
        assert len(content) < 200_000
        colors = Image.open(io.BytesIO(content)).convert("RGB").getcolors(1 << 24)
        assert colors is not None
        assert len(colors) > 5


def test_nothing_is_loaded(tmp_path):
    page, source, _ = write(tmp_path, made.dataset(channels=3), (*NORMS, *FINISHED), config=AUGMENTED)
    assert "http://" not in source
    assert "https://" not in source
    assert "@import" not in source
    assert not re.search(r"url\((?!#)", source)
    assert page.references
    for reference in page.references:
        assert reference.startswith(("#", "data:"))
        if reference.startswith("#"):
            assert reference[1:] in page.ids
    for reference in re.findall(r"url\(#([^)]*)\)", source):
        assert reference in page.ids


def test_themes_phone_and_readers(tmp_path):
    page, source, _ = write(tmp_path, made.dataset(), (*NORMS, *FINISHED), config=AUGMENTED)
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in source
    assert "@media (prefers-color-scheme: dark)" in source
    figures = re.findall(r"<svg.*?</svg>", source, re.DOTALL)
    assert len(figures) == len(ALL_PLOTS)
    for figure in figures:
        assert re.match(r'<svg class="plot" viewBox="[^"]*" role="img" aria-label="[^"]{20,}"', figure)
        painted = set(re.findall(r"(?:fill|stroke): ?(#[0-9a-f]{3,8})", figure))
        assert painted <= {"#000000"}, "every colour is a variable of the theme"
        assert "DejaVu" not in figure
    used = set(re.findall(r"var\(--([a-z]+)\)", source)) - {"under"}  # which is one of the others
    for theme in re.findall(r":root \{(.*?)\}", source, re.DOTALL):
        assert used <= set(re.findall(r"--([a-z]+):", theme))
    assert page.tags.count("h1") == 1
    assert page.tags.index("h1") < page.tags.index("h2") < page.tags.index("h3")


def test_the_same_run_gives_the_same_bytes(tmp_path):
    data = made.dataset()
    run = made.run(tmp_path / "run", data, FINISHED)
    model, judged = made.network(data), made.evaluation(data, wrong=2)

    def content() -> dict[str, bytes]:
        reports.write(run, model, data, evaluation=judged)
        return {path.name: path.read_bytes() for path in run.path.rglob("*.*")}

    assert content() == content()


def test_the_evaluation_is_made_when_none_is_given(tmp_path):
    data = made.dataset()
    run = made.run(tmp_path / "run", data, made.history(3).rows)
    model = made.network(data).train()
    source = reports.write(run, model, data).read_text(encoding="utf-8")
    right = (model(run.preprocess(data.test.images)).argmax(1) == data.test.labels).sum().item()
    assert f"Test accuracy: {right} of 12 images right" in source
    assert model.training, "the model is left in its mode"


def test_what_does_not_belong_together_is_refused(tmp_path):
    data, other = made.dataset(), made.dataset(("cat", "dog"))
    run = made.run(tmp_path / "run", data, FINISHED)
    with pytest.raises(ValueError, match="knows 3 classes and 'creatures' has 2"):
        reports.write(run, made.network(other), other)
    with pytest.raises(ValueError, match="expected an evaluation of the 12 test images of 'creatures', got one of 8"):
        reports.write(run, made.network(data), data, evaluation=made.evaluation(other))
    assert not (run.path / "report.html").exists()


def test_a_folder_that_refuses_is_one_sentence_and_keeps_the_old_page(tmp_path):
    data = made.dataset()
    run = made.run(tmp_path / "run", data, FINISHED)
    (run.path / "plots").write_text("in the way")
    (run.path / "report.html").write_text("old")
    with pytest.raises(RunError, match=r"could not make the folder .*plots"):
        reports.write(run, made.network(data), data)
    assert (run.path / "report.html").read_text() == "old"


@pytest.mark.parametrize("given", [False, True])
def test_weights_that_are_no_numbers_are_refused(tmp_path, given: bool):
    data = made.dataset()
    run = made.run(tmp_path / "run", data, FINISHED)
    model, judged = made.network(data), None
    if given:
        probabilities = made.evaluation(data).probabilities
        probabilities[3:5, 1] = torch.tensor([math.nan, math.inf])
        judged = Evaluation(probabilities, data.test.labels, data.classes)
    else:
        with torch.no_grad():
            model[0].weight[1, 0, 0, 0] = math.nan
    count = "2 of 12" if given else ".*"
    with pytest.raises(RunError, match=rf"the weights of .*run give NaN or infinite probabilities for {count}"):
        reports.write(run, model, data, evaluation=judged)
    assert not (run.path / "report.html").exists()
    assert not (run.path / "plots").exists()


def test_another_number_of_scores_is_still_the_callers_mistake(tmp_path):
    data = made.dataset()
    run = made.run(tmp_path / "run", data, FINISHED)
    with pytest.raises(ValueError, match="2 scores"):
        reports.write(run, made.network(made.dataset(("cat", "dog"))), data)


def test_figures_that_the_new_page_lacks_are_removed_and_nothing_else(tmp_path):
    data = made.dataset()
    _, _, run = write(tmp_path, data, FINISHED, wrong=2)
    plots = run.path / "plots"
    (plots / "my-own.png").write_bytes(b"mine")
    (plots / "mistakes.svg").write_bytes(b"mine")
    reports.write(run, made.network(data), data, evaluation=made.evaluation(data))
    assert {path.name for path in plots.iterdir()} == {
        *(f"{name}.png" for name in PLOTS if name != "mistakes"),
        "my-own.png",
        "mistakes.svg",
    }
    assert set(NAMES) == set(ALL_PLOTS)


def test_a_figure_that_cannot_be_removed_is_one_sentence(tmp_path):
    data = made.dataset()
    run = made.run(tmp_path / "run", data, FINISHED)
    (run.path / "plots" / "mistakes.png").mkdir(parents=True)
    with pytest.raises(RunError, match=r"could not remove .*mistakes\.png"):
        reports.write(run, made.network(data), data, evaluation=made.evaluation(data))


def test_a_phone_can_do_without_one_column_of_the_class_table(tmp_path):
    _, source, _ = write(tmp_path, made.dataset(), FINISHED)
    assert source.count('class="spare"') == 1 + 3 + 1, "the header, three classes and their mean"
    assert '<th scope="col" class="spare">most often taken for</th>' in source
    phone = source.partition("@media (max-width: 34rem) {")[2].partition("@media")[0]
    assert ".spare { display: none; }" in phone


@pytest.mark.parametrize(("ending", "begins"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_a_figure_can_be_saved_by_itself(tmp_path, ending: str, begins: bytes):
    path = tmp_path / f"sheet.{ending}"
    for _ in range(2):
        before = path.read_bytes() if path.exists() else None
        reports.save_figure(reports.figures.contact_sheet(made.dataset()), path)
        assert path.read_bytes().startswith(begins)
        assert before in (None, path.read_bytes())


def test_an_unknown_ending_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"a figure is written as .png, .svg, .pdf; got '.*sheet.gif'"):
        reports.save_figure(reports.figures.contact_sheet(made.dataset()), tmp_path / "sheet.gif")
