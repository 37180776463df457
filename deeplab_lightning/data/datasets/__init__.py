"""Images with masks, by position: one module per data set."""
