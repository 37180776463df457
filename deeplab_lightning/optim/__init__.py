"""The optimiser, its parameter groups and its schedule."""
