"""Schedules and parameter groups."""

from .groups import parameter_groups
from .schedules import FactorLR, poly_factor, step_factor

__all__ = ["FactorLR", "parameter_groups", "poly_factor", "step_factor"]
