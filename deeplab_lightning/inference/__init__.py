"""Using a network: from pictures to class maps."""

from .predictor import Predictor, most_likely

__all__ = ["Predictor", "most_likely"]
