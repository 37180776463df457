"""The optimiser, its parameter groups and its schedule."""

from .groups import parameter_groups
from .options import OptimizerOptions, make_optimizer, make_schedule, options_of_groups
from .schedules import FactorLR, cosine_factor, poly_factor, step_factor

__all__ = [
    "FactorLR",
    "OptimizerOptions",
    "cosine_factor",
    "make_optimizer",
    "make_schedule",
    "options_of_groups",
    "parameter_groups",
    "poly_factor",
    "step_factor",
]
