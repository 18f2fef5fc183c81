"""Numbers about any ``nn.Module``."""

from convscope.measure.evaluation import ClassScore, Evaluation, Mistake, evaluate, predict

__all__ = ["ClassScore", "Evaluation", "Mistake", "evaluate", "predict"]
