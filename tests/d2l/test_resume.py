"""A program in the book's style that stops and is started again ends as one that never stopped."""

import pytest
import torch
from safetensors.torch import load_file

from convscope.errors import RunError

EPOCHS = 4


class Stopped(Exception):
    """The power went out."""


def network(d2l, programs, kind):
    """A model of the reader's, silent, and its first weights."""
    made = programs.models(d2l)[kind][0]()
    made.board.display = False
    made.apply_init([torch.zeros(2, 1, 28, 28)], d2l.init_cnn)
    return made


def train(d2l, programs, kind, out, *, stop_after=None, **options):
    """The program, started once; some steps in, it may stop."""
    torch.manual_seed(0)
    model, data = network(d2l, programs, kind), d2l.FashionMNIST(batch_size=64)
    step, done = model.training_step, 0

    def counting(batch):
        nonlocal done
        done += 1
        if done == stop_after:
            raise Stopped
        return step(batch)

    model.training_step = counting
    trainer = d2l.Trainer(EPOCHS, out=out, **options)
    trainer.fit(model, data)
    return model, trainer


@pytest.mark.parametrize("kind", ["lenet", "dropout", "batch norm by hand"])
@pytest.mark.parametrize("stop_after", [2, 8, 14, 20])  # an epoch has 5 steps
def test_it_ends_in_the_same_bits_with_the_same_curves(d2l, programs, tiny_fashion, tmp_path, kind, stop_after):
    model, trainer = train(d2l, programs, kind, tmp_path / "whole")
    with pytest.raises(Stopped):
        train(d2l, programs, kind, tmp_path / "run", resume=True, stop_after=stop_after)
    torch.manual_seed(99)
    again, other = train(d2l, programs, kind, tmp_path / "run", resume=True)
    assert load_file(tmp_path / "whole" / "model.safetensors").keys() == dict(again.state_dict()).keys()
    torch.testing.assert_close(again.state_dict(), model.state_dict(), rtol=0, atol=0)
    assert again.board.data == model.board.data
    assert again.board.raw_points == model.board.raw_points
    assert (other.epoch, other.train_batch_idx, other.val_batch_idx) == (
        trainer.epoch,
        trainer.train_batch_idx,
        trainer.val_batch_idx,
    )
    assert not again.training
    for mine, theirs in zip(other.history.of("epoch"), trainer.history.of("epoch"), strict=True):
        for name in ("train_loss", "val_loss", "val_accuracy"):
            assert mine.values[name] == theirs.values[name]


def test_one_that_is_complete_is_not_trained_again(d2l, programs, tiny_fashion, tmp_path):
    model, _ = train(d2l, programs, "batch norm by hand", tmp_path / "run", resume=True)
    again, trainer = train(d2l, programs, "batch norm by hand", tmp_path / "run", resume=True, stop_after=1)
    torch.testing.assert_close(again.state_dict(), model.state_dict(), rtol=0, atol=0)
    assert torch.equal(again.net[1].moving_mean, model.net[1].moving_mean)
    assert again.board.data == model.board.data
    assert len(trainer.history.of("epoch")) == EPOCHS
    assert not again.training


def test_another_training_is_refused(d2l, programs, tiny_fashion, tmp_path):
    train(d2l, programs, "lenet", tmp_path / "run", resume=True)
    with pytest.raises(RunError, match=r"another training; choose another out= .*\n  batch-size: 64 then, 32 now"):
        d2l.Trainer(EPOCHS, out=tmp_path / "run", resume=True).fit(
            network(d2l, programs, "lenet"), d2l.FashionMNIST(batch_size=32)
        )
    with pytest.raises(ValueError, match=r"resume=True goes on with a run folder: name it"):
        d2l.Trainer(EPOCHS, resume=True)
