"""Studies of many runs: ablations with their statistics, and sweeps. Nothing here imports torch."""
