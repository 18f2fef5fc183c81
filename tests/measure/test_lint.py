"""Every rule finds what it is for, with its numbers, and lets the nearest innocent network pass."""

import math
import re

import pytest
import torch
from torch import nn

from convscope.data import Preprocess
from convscope.measure.lint import RULES, SEVERITIES, Finding, as_text, lint
from convscope.measure.lint.registry import rule
from measure.lint_networks import CASES, Case


def found(model, size, name, **options):
    return lint(model, size, only=[name], **options)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")  # PyTorch's own, about speed
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_rule_finds_what_it_is_for(case: Case):
    torch.manual_seed(0)
    findings = found(case.guilty(), case.size, case.rule, **case.options)
    assert [(f.where, f.severity) for f in findings] == [(case.where, case.severity)]
    assert case.says in findings[0].what
    assert findings[0].rule == case.rule
    assert RULES[case.rule].paper in findings[0].why


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_rule_lets_the_nearest_innocent_network_pass(case: Case):
    torch.manual_seed(0)
    assert found(case.innocent(), case.innocent_size or case.size, case.rule, **case.options) == []


def test_every_rule_has_a_case():
    assert {case.rule for case in CASES} == set(RULES)


def state_of(model):
    return (
        {name: value.clone() for name, value in model.state_dict().items()},
        [(module, module.training, dict(vars(module))) for module in model.modules()],
        [(p, p.requires_grad, p.grad) for p in model.parameters()],
        torch.get_rng_state(),
    )


def assert_same(before, after):
    assert before[0].keys() == after[0].keys()
    for name, value in before[0].items():
        assert value.dtype == after[0][name].dtype
        assert torch.equal(value, after[0][name]), name
    for (_, mode, attributes), (_, mode_now, attributes_now) in zip(before[1], after[1], strict=True):
        assert mode == mode_now
        assert attributes.keys() == attributes_now.keys()
        assert all(attributes_now[key] is value for key, value in attributes.items())
    assert all(a is b for x, y in zip(before[2], after[2], strict=True) for a, b in zip(x, y, strict=True))
    assert torch.equal(before[3], after[3])


def busy():
    """Norms with statistics, a dropout, gradients, and every module in a mode of its own."""
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Dropout(), nn.Flatten(), nn.Linear(144, 3)
    )
    net(torch.randn(2, 1, 8, 8)).sum().backward()
    net[3].eval()
    return net


@pytest.mark.parametrize("images", [None, torch.randn(4, 1, 8, 8)], ids=["random", "given"])
def test_the_network_is_left_as_it_was(images):
    net = busy()
    before = state_of(net)
    kept = None if images is None else images.clone()
    assert lint(net, (1, 8, 8), images=images)
    assert_same(before, state_of(net))
    assert images is None or torch.equal(images, kept)


class Raises(nn.Module):
    def __init__(self, only_in_training):
        super().__init__()
        self.conv, self.norm, self.only_in_training = nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), only_in_training

    def forward(self, x):
        x = self.norm(self.conv(x))
        if self.training or not self.only_in_training:
            raise RuntimeError("no such branch")
        return x


def test_a_network_that_raises_gives_one_clear_error_and_is_left_as_it_was():
    net = Raises(only_in_training=False)
    before = state_of(net)
    with pytest.raises(ValueError, match=r"Raises does not take images of 1x8x8: .*no such branch"):
        lint(net, (1, 8, 8))
    assert_same(before, state_of(net))


def test_a_network_that_raises_in_training_is_left_as_it_was():
    net = Raises(only_in_training=True)
    before = state_of(net)
    assert [f.rule for f in lint(net, (1, 8, 8))] == ["refuses-training", "bias-before-norm"]
    assert_same(before, state_of(net))


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((nn.Conv2d, (1, 8, 8)), {}, TypeError, "model must be an nn.Module, got type; call the class to make one"),
        ((nn.Conv2d(1, 1, 3), (1, 8)), {}, ValueError, r"input_size must be \(C, H, W\)"),
        ((nn.Conv2d(1, 1, 3), (1, 8, 8)), {"only": ["uneven"]}, ValueError, "unknown lint rule 'uneven'"),
        ((nn.Conv2d(1, 1, 3), (1, 8, 8)), {"ignore": ["dead-relus"]}, ValueError, "did you mean 'dead-relu'"),
        ((nn.Conv2d(1, 1, 3), (1, 8, 8)), {"images": [1]}, TypeError, "images must be a tensor"),
        (
            (nn.Conv2d(1, 1, 3), (1, 8, 8)),
            {"images": torch.zeros(2, 1, 8, 9)},
            ValueError,
            r"expected images \(N, 1, 8, 8\) as input_size says, got shape \(2, 1, 8, 9\)",
        ),
        (
            (nn.Conv2d(1, 1, 3), (1, 8, 8)),
            {"images": torch.zeros(2, 1, 8, 8, dtype=torch.uint8)},
            ValueError,
            r"images are torch.uint8: give preprocess=",
        ),
    ],
    ids=["class", "size", "only", "ignore", "list", "shape", "bytes"],
)
def test_wrong_words_are_refused(arguments, options, error, message):
    with pytest.raises(error, match=message):
        lint(*arguments, **options)


def test_bytes_go_through_preprocess():
    net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU())
    with torch.no_grad():
        net[0].weight.fill_(-1)
        net[0].bias.copy_(torch.tensor([0.5, -0.5]))
    preprocess = Preprocess(image_size=(4, 4), mean=(0.0,), std=(1.0,))
    white, black = (torch.full((3, 1, 4, 4), v, dtype=torch.uint8) for v in (255, 0))
    (finding,) = found(net, (1, 4, 4), "dead-relu", images=white, preprocess=preprocess)
    assert "2 of 2 channels (100%) are zero for all of the 3 images given" in finding.what
    (finding,) = found(net, (1, 4, 4), "dead-relu", images=torch.cat((white, black)), preprocess=preprocess)
    assert "1 of 2 channels (50%) are zero for all of the 6 images given" in finding.what


def test_on_meta_only_shapes_are_looked_at():
    with torch.device("meta"):
        net = nn.Sequential(nn.Conv2d(1, 8, 5), nn.BatchNorm2d(8), nn.Sigmoid(), nn.Conv2d(8, 8, 3), nn.Sigmoid())
    found = lint(net, (1, 16, 16))
    assert [f.rule for f in found] == ["bias-before-norm", "not-applied"]
    assert found[-1].what == ("default-weights, constant-weights, weights-not-finite, dead-relu were not applied: "
                              "0.weight is on the meta device and has no values.")  # fmt: skip
    assert lint(net, (1, 16, 16), only=["final-softmax"]) == []


def test_nan_in_a_buffer_is_found():
    net = nn.Sequential(nn.Conv2d(1, 2, 3, bias=False), nn.BatchNorm2d(2))
    net[1].running_var[0] = torch.nan
    found = [f for f in lint(net, (1, 9, 9)) if f.rule == "weights-not-finite"]
    assert [(f.where, f.what) for f in found] == [("1", "1 of 2 numbers in 1.running_var are NaN.")]


def test_no_page_or_section_is_cited_from_memory():
    assert not [r.name for r in RULES.values() if re.search(r"(section|page|table|figure|chapter) \d", r.paper)]


def test_lazy_layers_are_made_real_on_a_copy():
    net = nn.Sequential(nn.LazyConv2d(8, 3), nn.BatchNorm2d(8), nn.ReLU())
    assert [f.where for f in lint(net, (3, 8, 8)) if f.rule == "bias-before-norm"] == ["0"]
    assert nn.parameter.is_lazy(net[0].weight)


def test_a_network_that_looks_at_values_is_looked_at_with_values():
    class Chooses(nn.Module):
        def __init__(self):
            super().__init__()
            self.left, self.norm = nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3)

        def forward(self, x):
            return self.norm(self.left(x)) if x.sum() > -1e9 else x

    assert [(f.rule, f.where) for f in lint(Chooses(), (1, 8, 8))] == [("bias-before-norm", "left")]


class TorchvisionBlock(nn.Module):
    """The way most residual blocks are written: one ReLU in place, and an addition in place."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.conv2, self.bn2 = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += x
        return self.relu(out)


def inverted(channels, out):
    """MobileNet's block ends without an activation on purpose."""
    wide = 6 * channels
    return nn.Sequential(
        nn.Conv2d(channels, wide, 1, bias=False),
        nn.BatchNorm2d(wide),
        nn.ReLU6(),
        nn.Conv2d(wide, wide, 3, padding=1, groups=wide, bias=False),
        nn.BatchNorm2d(wide),
        nn.ReLU6(),
        nn.Conv2d(wide, out, 1, bias=False),
        nn.BatchNorm2d(out),
    )


def attention():
    """PyTorch draws attention's weights by Xavier and the rest of the layer by default."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 4, 4), nn.Flatten(2), nn.TransformerEncoderLayer(64, 4, dim_feedforward=64, batch_first=True)
    )


def normed():
    """A weight that is computed is nobody's parameter."""
    return nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 8, 3)), nn.ReLU(), nn.Conv2d(8, 8, 3))


@pytest.mark.parametrize(
    ("make", "size", "expected"),
    [
        (lambda: nn.Sequential(TorchvisionBlock(), TorchvisionBlock()), (8, 16, 16), ["reused-activation"] * 2),
        (lambda: nn.Sequential(inverted(8, 12), inverted(12, 16)), (8, 17, 17), []),
        (attention, (3, 32, 32), []),
        (normed, (3, 17, 17), []),
        (lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.ConvTranspose2d(8, 3, 2, 2)), (3, 17, 17), []),
        (lambda: nn.Sequential(nn.Conv2d(1, 8, 3), nn.GroupNorm(2, 8), nn.ReLU()), (1, 8, 8), []),
        (lambda: nn.MaxPool2d(2), (1, 16, 16), []),
    ],
    ids=["torchvision", "mobilenet", "attention", "weight norm", "transposed", "group norm", "no parameters"],
)
def test_common_networks_hear_nothing_that_would_make_people_stop_reading(make, size, expected):
    torch.manual_seed(0)
    assert [f.rule for f in lint(make(), size)] == expected


def test_errors_come_first_and_ignored_rules_do_not_come():
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 144), nn.Softmax(1))
    nn.init.ones_(net[0].weight)
    findings = lint(net, (1, 8, 8))
    assert [f.severity for f in findings] == sorted((f.severity for f in findings), key=SEVERITIES.index)
    assert (findings[0].rule, findings[0].what) == ("constant-weights", "all 36 weights are 1.")
    assert "final-softmax" in {f.rule for f in findings}
    assert "final-softmax" not in {f.rule for f in lint(net, (1, 8, 8), ignore=["final-softmax"])}


def test_a_rule_cannot_be_registered_twice():
    with pytest.raises(ValueError, match="lint rule 'dead-relu' is registered twice"):
        rule("dead-relu", severity="info", what="", why="", paper="", change="")(lambda network: iter(()))
    assert RULES["dead-relu"].severity == "warning"


def test_findings_as_text_say_why_once():
    one, two = (Finding("r", "warning", w, "It is so.", "It matters.", f"Change {w}.") for w in ("a", "b"))
    assert as_text([one, two]).splitlines() == [
        "warning: r",
        "  a: It is so.",
        "    Change: Change a.",
        "  b: It is so.",
        "    Change: Change b.",
        "  Why: It matters.",
    ]
    assert as_text([]) == "nothing found"
    assert max(map(len, as_text([one] * 2 + [two], width=14).splitlines())) <= 14
    assert one.to_dict()["where"] == "a"


def test_softmax_before_cross_entropy_is_bounded_as_it_says():
    """The lowest loss in the message is what cross-entropy gives for a softmax that is certain and right."""
    certain = torch.tensor([[1.0, *[0.0] * 9]])
    assert nn.functional.cross_entropy(certain, torch.tensor([0])).item() == pytest.approx(1.461, abs=5e-4)
    assert math.log(1 + 9 / math.e) == pytest.approx(1.461, abs=5e-4)
