"""The dense CRF of DeepLab v1 and v2, as a stage behind the network."""

from .mean_field import PAPERS, CRFOptions, DenseCRF

__all__ = ["PAPERS", "CRFOptions", "DenseCRF"]
