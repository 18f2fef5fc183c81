import math

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch.optim.lr_scheduler import CosineAnnealingLR

from convscope.train import ScheduleConfig
from convscope.train.schedule import ONE_CYCLE_START, factor

SCHEDULES = st.one_of(
    st.just(ScheduleConfig(sched="one-cycle")),
    st.builds(ScheduleConfig, sched=st.sampled_from(["constant", "cosine"]), warmup_epochs=st.floats(0, 3)),
)


@given(schedule=SCHEDULES, epochs=st.integers(1, 5), steps_per_epoch=st.integers(1, 20))
def test_factor_stays_within_zero_and_one_and_moves_the_weights_at_every_step(schedule, epochs, steps_per_epoch):
    assume(schedule.warmup_epochs < epochs)
    total = epochs * steps_per_epoch
    factors = [factor(s, total_steps=total, steps_per_epoch=steps_per_epoch, schedule=schedule) for s in range(total)]
    assert all(0 < f <= 1 for f in factors)
    assert max(factors) >= ONE_CYCLE_START


def test_cosine_is_pytorchs():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    peer = CosineAnnealingLR(optimizer, T_max=37)
    for step in range(37):
        ours = factor(step, total_steps=37, steps_per_epoch=37, schedule=ScheduleConfig(sched="cosine"))
        assert ours == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-12)
        optimizer.step()
        peer.step()


def test_one_cycle_rises_for_a_quarter_and_falls_to_nearly_nothing():
    factors = [factor(s, total_steps=100, steps_per_epoch=10, schedule=ScheduleConfig()) for s in range(100)]
    assert factors.index(max(factors)) == 25
    assert factors[:26] == sorted(factors[:26])
    assert factors[25:] == sorted(factors[25:], reverse=True)
    assert factors[0] == ONE_CYCLE_START
    assert factors[-1] < 0.001


def test_warm_up_rises_in_equal_steps_and_then_keeps_the_schedule():
    schedule = ScheduleConfig(sched="constant", warmup_epochs=0.4)
    factors = [factor(s, total_steps=20, steps_per_epoch=10, schedule=schedule) for s in range(20)]
    assert factors[:4] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert factors[4:] == [1.0] * 16
    assert math.isclose(sum(factors), 18.0)
