"""The training engine: batches in, weights out, and a run folder that says how."""

from convscope.train.config import ExecutionConfig, OptimizerConfig, SavingConfig, ScheduleConfig, TrainConfig
from convscope.train.events import Event, Finished, History, Listener, Logged, Row, Started, Stepped
from convscope.train.folder import check_free
from convscope.train.objective import Classification, Objective, Outcome
from convscope.train.plan import Plan, find_device
from convscope.train.recipes import RECIPES, recipe
from convscope.train.run import Run
from convscope.train.trainer import Trainer

__all__ = [
    "RECIPES",
    "Classification",
    "Event",
    "ExecutionConfig",
    "Finished",
    "History",
    "Listener",
    "Logged",
    "Objective",
    "OptimizerConfig",
    "Outcome",
    "Plan",
    "Row",
    "Run",
    "SavingConfig",
    "ScheduleConfig",
    "Started",
    "Stepped",
    "TrainConfig",
    "Trainer",
    "check_free",
    "find_device",
    "recipe",
]
