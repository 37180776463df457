"""Using a network: from images to class maps."""

from .options import EvaluationOptions, options_from
from .predictor import Predictor, most_likely

__all__ = ["EvaluationOptions", "Predictor", "most_likely", "options_from"]
