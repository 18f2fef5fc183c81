"""Every name that the convolutional chapters use is here, and the others say where they belong."""

import subprocess
import sys

import pytest
import torch

ALIASES = {
    "zeros": lambda d: (d.zeros((2, 3)), torch.zeros(2, 3)),
    "ones": lambda d: (d.ones((2, 3)), torch.ones(2, 3)),
    "tensor": lambda d: (d.tensor([1.0]), torch.tensor([1.0])),
    "transpose": lambda d: (d.transpose(torch.arange(6).reshape(2, 3)), torch.arange(6).reshape(2, 3).t()),
    "reshape": lambda d: (d.reshape(torch.arange(6), (2, 3)), torch.arange(6).reshape(2, 3)),
    "reduce_sum": lambda d: (d.reduce_sum(torch.arange(6).reshape(2, 3), 0), torch.tensor([3, 5, 7])),
    "reduce_mean": lambda d: (d.reduce_mean(torch.arange(4.0)), torch.tensor(1.5)),
    "stack": lambda d: (d.stack((torch.ones(1), torch.ones(1)), 0), torch.ones(2, 1)),
    "concat": lambda d: (d.concat((torch.ones(1), torch.ones(1)), 0), torch.ones(2)),
    "matmul": lambda d: (d.matmul(torch.eye(2), torch.ones(2)), torch.ones(2)),
    "abs": lambda d: (d.abs(torch.tensor(-1.0)), torch.tensor(1.0)),
    "arange": lambda d: (d.arange(3, dtype=d.float32), torch.arange(3.0)),
    "astype": lambda d: (d.astype(torch.tensor([1.5]), d.int64), torch.tensor([1])),
    "argmax": lambda d: (d.argmax(torch.eye(2), axis=1), torch.tensor([0, 1])),
    "expand_dims": lambda d: (d.expand_dims(torch.ones(2), 0), torch.ones(1, 2)),
    "swapaxes": lambda d: (d.swapaxes(torch.arange(6).reshape(2, 3), 0, 1), torch.arange(6).reshape(2, 3).t()),
    "repeat": lambda d: (d.repeat(torch.tensor([1, 2]), 2), torch.tensor([1, 2, 1, 2])),
    "to": lambda d: (d.to(torch.ones(1), d.cpu()), torch.ones(1)),
    "size": lambda d: (torch.tensor(d.size(torch.ones(2, 3))), torch.tensor(6)),
    "numpy": lambda d: (torch.from_numpy(d.numpy(torch.ones(2, requires_grad=True))), torch.ones(2)),
}
CHAPTERS_7_AND_8 = (
    "add_to_class Classifier FashionMNIST Trainer init_cnn corr2d ResNeXtBlock Residual LeNet zeros ones tensor "
    "transpose reshape reduce_sum stack matmul normal abs arange float32 concat randn"
)
THEY_STAND_ON = (
    "HyperParameters ProgressBoard Module DataModule Timer cpu gpu num_gpus try_gpu try_all_gpus show_images plot "
    "set_figsize set_axes use_svg_display load_data_fashion_mnist train_ch6 evaluate_accuracy_gpu Animator Accumulator "
    "accuracy nn_Module nn F torch np plt math os time"
)


@pytest.mark.parametrize("name", ALIASES)
def test_an_alias_is_pytorchs_own(d2l, name):
    ours, expected = ALIASES[name](d2l)
    assert torch.equal(ours, expected)
    assert ours.dtype == expected.dtype


@pytest.mark.parametrize("name", f"{CHAPTERS_7_AND_8} {THEY_STAND_ON}".split())
def test_a_name_is_there_in_both_places(d2l, name):
    from convscope import d2l as package

    assert getattr(d2l, name) is getattr(package, name) or name == "torch"
    assert name in dir(d2l)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Vocab", "d2l.Vocab belongs to chapter 9, recurrent networks.*the book's own d2l"),
        ("train_ch3", "belongs to an earlier edition of the book; use d2l.Trainer"),
        ("DATA_HUB", "belongs to the appendix on tools of the book; "),
        ("SoftmaxRegression", "chapter 4.*use a d2l.Classifier"),
        ("resnet18", r"chapter 13.*convscope\.models\.create"),
        ("FashionMINST", "did you mean 'FashionMNIST'"),
        ("qqqqqqq", r"d2l has no name 'qqqqqqq'; dir\(d2l\) lists"),
    ],
)
def test_a_name_that_is_not_here(d2l, name, words):
    assert not hasattr(d2l, name)
    with pytest.raises(AttributeError, match=words):
        getattr(d2l, name)


def test_no_name_is_said_to_be_missing_that_is_here(d2l):
    from convscope.d2l.elsewhere import CHAPTERS, INSTEAD

    gone = {name for names in CHAPTERS.values() for name in names.split()}
    assert not gone & set(dir(d2l))
    assert set(INSTEAD) <= gone


def test_a_package_that_is_not_installed(d2l, monkeypatch):
    monkeypatch.setitem(d2l._LOADED_LATER, "pd", ("no_such_module_anywhere", "pandas"))
    monkeypatch.delitem(vars(d2l), "pd", raising=False)
    with pytest.raises(AttributeError, match=r"d2l.pd is no_such_module_anywhere.*pip install pandas"):
        d2l.pd  # noqa: B018


def test_reading_the_names_loads_nothing_that_takes_long():
    """The engine, matplotlib, pandas, IPython and torchvision are loaded by whoever needs them."""
    code = (
        "import sys, convscope.d2l.torch; "
        "print([name for name in ('matplotlib', 'IPython', 'pandas', 'torchvision', 'sklearn', 'convscope.train') "
        "if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# ---- methods from outside, and arguments that become attributes


def test_what_is_added_to_a_class_is_gone_as_a_name(d2l):
    class Net: ...

    instance = Net()

    @d2l.add_to_class(Net)
    def double(self, x):
        return 2 * x

    assert double is None
    assert instance.double(4) == 8


def test_an_init_added_after_the_class_was_made(d2l):
    """Inside of it ``super()`` has no class to start from, so the book names both."""

    class Net(d2l.Classifier):
        pass

    @d2l.add_to_class(Net)
    def __init__(self, width, lr=0.1):
        super(Net, self).__init__()
        self.save_hyperparameters()
        self.net = torch.nn.Linear(2, width)

    assert Net(3).hparams == {"width": 3, "lr": 0.1, "Net": Net}  # what a function closes over counts as its local


def test_hyperparameters_are_the_locals_of_the_caller(d2l):
    class Base(d2l.HyperParameters):
        def __init__(self, a, b=2):
            self.save_hyperparameters()

    class Derived(Base):
        def __init__(self, c, _secret=5, *more, **named):
            before = c + 1  # noqa: F841
            super().__init__(a=1)
            self.save_hyperparameters(ignore=["named"])

    one = Derived(10, 5, 6, x=7)
    assert one.hparams == {"c": 10, "more": (6,), "before": 11}  # the later call has it
    assert (one.a, one.b, one.c, one.before) == (1, 2, 10, 11)  # the attributes of both stay
    assert not hasattr(one, "_secret")
    assert not hasattr(one, "named")


def test_hyperparameters_through_a_wrapper_are_the_wrappers(d2l):
    """A quirk that programs meet: it looks one frame up, and no further."""

    class Net(d2l.HyperParameters):
        def keep(self):
            inside = True
            self.save_hyperparameters()
            return inside

        def __init__(self, lr):
            self.keep()

    assert Net(0.1).hparams == {"inside": True}


def test_modules_among_the_hyperparameters_are_registered(d2l):
    class Net(d2l.Module):
        def __init__(self, encoder, lr):
            super().__init__()
            self.save_hyperparameters()

    net = Net(torch.nn.Linear(2, 3), 0.1)
    assert [name for name, _ in net.named_parameters()] == ["encoder.weight", "encoder.bias"]


def test_what_a_program_puts_in_the_place_of_a_name_is_used(d2l, monkeypatch):
    class Board(d2l.ProgressBoard):
        pass

    monkeypatch.setattr(d2l, "ProgressBoard", Board)
    assert isinstance(d2l.LeNet().board, Board)
    monkeypatch.setattr(d2l, "num_gpus", lambda: 2)
    monkeypatch.setattr(d2l, "gpu", lambda i=0: torch.device("meta", i))
    assert d2l.Trainer(1, num_gpus=1).gpus == [torch.device("meta", 0)]


# ---- devices and counters


@pytest.mark.skipif(torch.accelerator.is_available(), reason="there is an accelerator")
def test_devices_where_there_is_none(d2l):
    assert d2l.num_gpus() == 0
    assert d2l.try_all_gpus() == []
    assert d2l.try_gpu() == d2l.try_gpu(3) == d2l.cpu() == torch.device("cpu")
    assert d2l.gpu(1) == torch.device("cuda:1")


@pytest.mark.parametrize("kind", ["mps", "xpu", "cuda"])
def test_an_accelerator_of_any_kind_counts(d2l, monkeypatch, kind):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device(kind))
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)
    assert d2l.try_all_gpus() == [torch.device(kind, 0), torch.device(kind, 1)]
    assert d2l.try_gpu(1) == torch.device(kind, 1)
    assert d2l.try_gpu(2) == torch.device("cpu")


def test_a_timer_remembers_its_laps(d2l, monkeypatch):
    ticks = iter([10.0, 11.0, 20.0, 23.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(ticks))
    timer = d2l.Timer()
    assert timer.stop() == 1.0
    timer.start()
    assert timer.stop() == 3.0
    assert (timer.times, timer.avg(), timer.sum(), timer.cumsum()) == ([1.0, 3.0], 2.0, 4.0, [1.0, 4.0])


def test_sums_side_by_side(d2l):
    sums = d2l.Accumulator(3)
    sums.add(1, torch.tensor(2.0), True)
    sums.add(1, 1, 1)
    assert sums.data == [2.0, 3.0, 2.0]
    assert sums[1] == 3.0
    sums.reset()
    assert sums.data == [0.0] * 3
