"""Using a network: from images to class maps. Here are its options, without torch."""

from .options import EvaluationOptions, Postprocessing

__all__ = ["EvaluationOptions", "Postprocessing"]
