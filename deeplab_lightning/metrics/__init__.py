"""From confusion counts to scores. `scores` and `per_picture` need no torch."""
