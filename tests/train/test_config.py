import dataclasses
import re

import pytest

from convscope.train import (
    RECIPES,
    ExecutionConfig,
    OptimizerConfig,
    SavingConfig,
    ScheduleConfig,
    TrainConfig,
    find_device,
    recipe,
)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TrainConfig(epochs=0), "--epochs must be above 0, got 0"),
        (lambda: TrainConfig(batch_size=0), "--batch-size must be at least 1, got 0"),
        (lambda: TrainConfig(image_size=0), "--image-size must be at least 1, got 0"),
        (lambda: TrainConfig(label_smoothing=1.0), "--label-smoothing must be in 0 <= label_smoothing < 1, got 1.0"),
        (lambda: TrainConfig(val_fraction=-0.1), "--val-fraction must be in 0 <= val_fraction < 1, got -0.1"),
        (lambda: OptimizerConfig(lr=-0.1), "--lr must be above 0, got -0.1"),
        (lambda: OptimizerConfig(lr=0.0), "--lr must be above 0, got 0.0"),
        (lambda: OptimizerConfig(lr=float("nan")), "--lr must be above 0, got nan"),
        (lambda: OptimizerConfig(momentum=1.0), "--momentum must be in 0 <= momentum < 1, got 1.0"),
        (lambda: OptimizerConfig(weight_decay=-1), "--weight-decay must be at least 0, got -1"),
        (lambda: ExecutionConfig(log_interval=0), "--log-interval must be at least 1, got 0"),
        (lambda: TrainConfig(seed=2**63), "--seed must be below 2^63, got 9223372036854775808"),
        (
            lambda: TrainConfig(epochs=2, schedule=ScheduleConfig(sched="cosine", warmup_epochs=2)),
            "--warmup-epochs must",
        ),
        (lambda: ScheduleConfig(warmup_epochs=1), "--warmup-epochs goes with --sched constant or cosine"),
        (lambda: ScheduleConfig(sched="cosine", rise=0.5), "--rise goes with --sched one-cycle or triangle"),
        (lambda: TrainConfig(saving=SavingConfig(keep="best")), "--keep best chooses by a validation split"),
        (lambda: TrainConfig(saving=SavingConfig(patience=2)), "--patience chooses by a validation split"),
        (lambda: recipe("defualt"), "unknown recipe 'defualt'; did you mean 'default'?"),
        (lambda: find_device("cuda:77"), "--device cuda:77 is not on this machine; expected one of: auto, cpu"),
        (lambda: find_device("gpu"), "--device gpu is not on this machine"),
    ],
)
def test_numbers_out_of_range_are_refused_with_one_sentence(make, message):
    with pytest.raises(ValueError, match="^" + re.escape(message)) as caught:
        make()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", RECIPES)
def test_settings_survive_json(name):
    config = dataclasses.replace(recipe(name).config, val_fraction=0.1, image_size=32)
    assert TrainConfig.from_dict(config.to_dict()) == config


def test_the_textbook_recipe_is_the_books():
    book = recipe("textbook").config
    assert (book.epochs, book.batch_size, book.normalize, book.label_smoothing) == (10, 128, False, 0)
    assert book.optimizer == OptimizerConfig(opt="sgd", lr=0.1, momentum=0, weight_decay=0)
    assert book.schedule.sched == "constant"
