"""What training makes small. Every loss ignores void pixels, and is finite when there is nothing else."""

from .cross_entropy import cross_entropy, cross_entropy_sum

__all__ = ["cross_entropy", "cross_entropy_sum"]
