"""Context heads, one a file: what stands between a backbone and its classifier or decoder in v3 and v3+."""

from .base import ContextHead, ContextOptions, context_heads, context_module

__all__ = ["ContextHead", "ContextOptions", "context_heads", "context_module"]
