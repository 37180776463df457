"""Using a network: from images to class maps. Here are its options, without torch."""

from .options import DraftOptions, EvaluationOptions, Postprocessing

__all__ = ["DraftOptions", "EvaluationOptions", "Postprocessing"]
