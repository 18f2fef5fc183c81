"""Every generator that a training may draw from goes on where it was, and the calling program's own are left alone."""

import os
import random
import signal

import numpy as np
import pytest
import torch
from torch import nn

from convscope.errors import TrainingInterrupted
from convscope.train import Classification, TrainConfig, Trainer
from convscope.train.generators import generators_kept, lent_generators, restore_rng, rng_state, seed_generators

# ruff: noqa: NPY002 - the global generator is what is tested

CPU = torch.device("cpu")
CONFIG = TrainConfig(epochs=3, batch_size=60)


def draws() -> list[float]:
    """One of every kind; the odd number of normal ones leaves one drawn ahead."""
    python = [random.random(), random.gauss(0, 1), float(random.getrandbits(32))]
    return [*python, *np.random.rand(2), *np.random.randn(3), *torch.rand(2).tolist(), *torch.randn(3).tolist()]


@pytest.mark.parametrize("before", [0, 1, 7])
def test_generators_go_on_where_they_were(before):
    seed_generators(3)
    for _ in range(before):
        draws()
    state, expected = rng_state(CPU), draws() + draws()
    seed_generators(99)
    draws()
    restore_rng(state, CPU)
    assert draws() + draws() == expected


def test_a_state_survives_a_file_that_is_read_without_unpickling(tmp_path):
    seed_generators(4)
    draws()
    torch.save(rng_state(CPU), tmp_path / "state.pt")
    expected = draws()
    restore_rng(torch.load(tmp_path / "state.pt", weights_only=True), CPU)
    assert draws() == expected


def test_seeds_of_any_size_differ_and_repeat():
    drawn = []
    for seed in (0, 1, 1 << 32, 2**63 - 1, 5 ^ (3 << 40)):
        seed_generators(seed)
        drawn.append(tuple(draws()))
        seed_generators(seed)
        assert tuple(draws()) == drawn[-1]
    assert len({values[3] for values in drawn}) == len(drawn)  # NumPy's, which takes words of 32 bits


def test_a_generator_of_numpys_that_cannot_be_seeded_stays_what_it_is():
    own = np.random.get_bit_generator()
    np.random.set_bit_generator(np.random.PCG64(7))
    try:
        expected = np.random.Generator(np.random.PCG64(7)).bit_generator.random_raw(2)
        with generators_kept(CPU), lent_generators():
            seed_generators(1)
        assert np.random.get_bit_generator().random_raw(2).tolist() == expected.tolist()
        assert "numpy" not in rng_state(CPU)
    finally:
        np.random.set_bit_generator(own)


class Noisy(Classification):
    """Draws from Python's and NumPy's generators in every step, as a person's own objective may."""

    def training(self, model, inputs, targets):
        shift = 0.1 * random.gauss(0, 1) + 0.1 * np.random.randn()
        return super().training(model, inputs + shift, targets)


def build() -> nn.Module:
    torch.manual_seed(5)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))


@pytest.mark.parametrize("stop_at", [1, 6])
def test_an_objective_that_draws_from_python_and_numpy_resumes_exactly(tmp_path, dataset, stop_at):
    random.seed(1)
    whole = build()
    Trainer(CONFIG, objective=Noisy()).fit(whole, dataset, out=tmp_path / "whole")

    cut, steps = build(), iter(range(1, 100))
    cut.register_forward_pre_hook(
        lambda net, _: os.kill(os.getpid(), signal.SIGINT) if net.training and next(steps) == stop_at else None
    )
    random.seed(2)
    np.random.seed(3)
    with pytest.raises(TrainingInterrupted):
        Trainer(CONFIG, objective=Noisy()).fit(cut, dataset, out=tmp_path / "cut")
    random.seed(4)
    np.random.seed(5)
    again = build()
    Trainer.resume(tmp_path / "cut", again, dataset, objective=Noisy())
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), again.parameters(), strict=True))


def test_the_calling_programs_python_and_numpy_draw_on_as_if_nothing_had_been_trained(tmp_path, dataset):
    random.seed(8)
    np.random.seed(8)
    np.random.randn()
    expected = [random.random(), random.gauss(0, 1), *np.random.randn(3)]
    random.seed(8)
    np.random.seed(8)
    np.random.randn()
    Trainer(CONFIG, objective=Noisy()).fit(build(), dataset, out=tmp_path / "run")
    assert [random.random(), random.gauss(0, 1), *np.random.randn(3)] == expected
