"""Schedules and parameter groups."""

from .groups import parameter_groups
from .poly import PolyLR, poly_factor

__all__ = ["PolyLR", "parameter_groups", "poly_factor"]
