"""How a summary is printed, and that every form says the same."""

import csv
import io
import json
from html.parser import HTMLParser

import pytest
from rich.console import Console
from torch import nn

from convscope import models
from convscope.measure import Summary, summary
from measure.oracles import nets


@pytest.fixture(scope="module")
def resnet() -> Summary:
    return summary(models.create("resnet18", in_channels=1, image_size=96, device="meta"), (1, 96, 96), name="resnet18")


def printed(result, width, **options):
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(result.to_table(width, **options))
    return console.export_text()


@pytest.mark.parametrize("width", [80, 140])
def test_a_table_fits_its_terminal(resnet, width):
    text = printed(resnet.select(depth=2), width)
    lines = text.splitlines()
    table = lines[2:lines.index("", 2)]  # fmt: skip
    assert len(table) == 1 + 19
    assert max(map(len, table)) <= width
    assert "…" not in text
    heads = table[0].split()
    assert heads == (
        ["layer", "type", "output", "parameters", "MACs", "sees", "jump"] if width == 80 else
        ["layer", "type", "output", "parameters", "MACs", "FLOPs", "inference", "training", "sees", "jump", "pad"]
    )  # fmt: skip
    assert "sees 435 pixels of 96x96 at layer4; after it, units see everything" in text
    assert "parameters 11,683,240" in text
    assert "MAC = a multiplication with its addition" in text


def test_book_style_is_the_books():
    expected = [
        ("Conv2d", [1, 6, 28, 28]), ("Sigmoid", [1, 6, 28, 28]), ("AvgPool2d", [1, 6, 14, 14]),
        ("Conv2d", [1, 16, 10, 10]), ("Sigmoid", [1, 16, 10, 10]), ("AvgPool2d", [1, 16, 5, 5]),
        ("Flatten", [1, 400]), ("Linear", [1, 120]), ("Sigmoid", [1, 120]), ("Linear", [1, 84]), ("Sigmoid", [1, 84]),
        ("Linear", [1, 10]),
    ]  # fmt: skip
    lines = summary(models.create("lenet"), (1, 28, 28)).layer_summary().splitlines()
    assert lines == [f"{kind} output shape:\t torch.Size({shape})" for kind, shape in expected]


def test_book_style_of_the_books_own_form():
    class Book(nn.Module):
        def __init__(self):
            super().__init__()
            stem = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU())
            self.net = nn.Sequential(stem, nn.Flatten(), nn.Linear(4 * 36, 3))

        def forward(self, x):
            return self.net(x)

    assert [line.split()[0] for line in summary(Book(), (1, 8, 8)).layer_summary().splitlines()] == [
        "Sequential", "Flatten", "Linear"
    ]  # fmt: skip


def test_json_has_totals_definitions_and_rows(resnet):
    found = json.loads(resnet.to_json())
    assert found["macs"] * 2 == found["flops"] == resnet.total.flops
    assert found["receptive_field"] == {
        "size": [435, 435], "jump": [32, 32], "padding": [217, 217], "whole": [False, False], "misaligned": False,
        "at": "layer4",
    }  # fmt: skip
    assert set(found["definitions"]) == {"macs", "flops", "inference", "training", "receptive_field"}
    leaves = [row for row in found["rows"] if not any(o["path"].startswith(row["path"] + ".") for o in found["rows"])]
    assert sum(row["macs"] for row in leaves) == found["macs"]
    assert sum(row["parameters"] for row in leaves) == found["parameters"]
    assert sum(row["training_bytes"] for row in leaves) <= found["training_bytes"]


def test_csv_is_exact(resnet):
    rows = list(csv.DictReader(io.StringIO(resnet.to_csv())))
    assert rows[-1]["path"] == ""
    assert int(rows[-1]["macs"]) == resnet.total.macs
    by_path = {row["path"]: row for row in rows}
    assert by_path["layer4.1.conv2"]["field_h"] == "435"
    assert by_path["layer4.1.conv2"]["output_shapes"] == "1x512x3x3"
    assert by_path["fc"]["whole_h"] == "True"
    assert next(csv.reader(io.StringIO(resnet.to_csv(["layer", "jump"])))) == ["path", "jump_h", "jump_w"]


def test_markdown_and_html_have_the_same_cells(resnet):
    few = resnet.select(depth=1)
    lines = few.to_markdown().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]

    class Cells(HTMLParser):
        rows: list
        inside = False

        def handle_starttag(self, tag, attrs):
            if tag == "tr":
                self.rows.append([])
            self.inside = tag in ("td", "th")
            if self.inside:
                self.rows[-1].append("")

        def handle_endtag(self, tag):
            self.inside = False

        def handle_data(self, data):
            if self.inside:
                self.rows[-1][-1] += data

    parser = Cells()
    parser.rows = []
    parser.feed(few.to_html())
    assert parser.rows == [cells[0], *cells[2:]]
    assert len(cells) == 2 + 11


def test_depth_sort_and_columns(resnet):
    assert [row.path for row in resnet.select(depth=1).rows][4:8] == ["layer1", "layer2", "layer3", "layer4"]
    heaviest = resnet.select(depth=1, sort="macs").rows
    assert [row.macs for row in heaviest] == sorted((row.macs for row in heaviest), reverse=True)
    assert heaviest[0].path == "layer1"
    text = printed(resnet.select(depth=1), 80, columns=["layer", "trainable", "training"])
    assert text.splitlines()[2].split() == ["layer", "trainable", "training"]
    with pytest.raises(ValueError, match="unknown column 'mac'; did you mean 'macs'"):
        resnet.select(sort="mac")
    with pytest.raises(ValueError, match="--depth must be at least 1, got 0"):
        resnet.select(depth=0)


def test_rows_stand_in_the_order_in_which_they_ran():
    net = models.create("googlenet", device="meta")
    paths = [row.path for row in summary(net, (3, 64, 64)).select(depth=1).rows]
    assert paths[-4:] == ["avgpool", "flatten", "dropout", "fc"]  # dropout runs no operator, and still before fc
    assert paths.index("maxpool3") == paths.index("inception3b") + 1


def test_marks_are_explained():
    net = nn.Sequential(nets.Reused())
    assert "+ shares parameters with a row above" in printed(summary(net, (4, 6, 6)), 100)
    crooked = nn.Sequential(nn.Conv2d(1, 1, 2, 2), nets.Reused())
    assert "* branches" not in printed(summary(nn.Sequential(crooked[0]), (1, 8, 8)), 100)


def test_markup_in_names_is_text():
    net = nn.Sequential()
    net.add_module("[red]x", nn.ReLU())
    assert "[red]x" in printed(summary(net, (1, 2, 2)), 80)
    assert "&lt;" not in summary(net, (1, 2, 2)).to_html()


def test_a_single_layer_is_its_own_row():
    text = printed(summary(nn.Conv2d(3, 4, 3), (3, 8, 8)), 80)
    assert "Conv2d  " in text
    assert "4x6x6" in text
