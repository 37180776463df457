"""From files, or from nothing, to batches."""
