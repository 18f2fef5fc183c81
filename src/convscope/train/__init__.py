"""The training engine: batches in, weights out, and a run folder that says how."""

from convscope.data.augment import AugmentConfig
from convscope.train.config import ExecutionConfig, OptimizerConfig, SavingConfig, ScheduleConfig, TrainConfig
from convscope.train.distributed import ALONE, World, join, started_by_torchrun
from convscope.train.events import Event, Finished, History, Listener, Logged, Noted, Row, Started, Stepped
from convscope.train.find_lr import LrRange
from convscope.train.folder import RANGE_PICTURE, check_free, next_free
from convscope.train.messages import OtherProcessFailed
from convscope.train.objective import Classification, Objective, Outcome
from convscope.train.plan import Plan, find_device
from convscope.train.recipes import RECIPES, Recipe, recipe
from convscope.train.run import Run
from convscope.train.tensorboard import TensorBoard
from convscope.train.trainer import Trainer

__all__ = [
    "ALONE",
    "RANGE_PICTURE",
    "RECIPES",
    "AugmentConfig",
    "Classification",
    "Event",
    "ExecutionConfig",
    "Finished",
    "History",
    "Listener",
    "Logged",
    "LrRange",
    "Noted",
    "Objective",
    "OptimizerConfig",
    "OtherProcessFailed",
    "Outcome",
    "Plan",
    "Recipe",
    "Row",
    "Run",
    "SavingConfig",
    "ScheduleConfig",
    "Started",
    "Stepped",
    "TensorBoard",
    "TrainConfig",
    "Trainer",
    "World",
    "check_free",
    "find_device",
    "join",
    "next_free",
    "recipe",
    "started_by_torchrun",
]
