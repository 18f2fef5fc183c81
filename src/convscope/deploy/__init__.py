"""A finished run put to work."""

from convscope.deploy.classifier import Classifier, Guess, Prediction, make_model, restore_model

__all__ = ["Classifier", "Guess", "Prediction", "make_model", "restore_model"]
