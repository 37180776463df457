"""The dense CRF of DeepLab v1 and v2, as a stage behind the network."""

from ..options import PAPERS, CRFOptions
from .mean_field import DenseCRF

__all__ = ["PAPERS", "CRFOptions", "DenseCRF"]
