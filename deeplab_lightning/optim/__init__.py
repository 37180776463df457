"""Schedules and parameter groups."""

from .groups import parameter_groups
from .schedules import FactorLR, cosine_factor, poly_factor, step_factor

__all__ = ["FactorLR", "cosine_factor", "parameter_groups", "poly_factor", "step_factor"]
