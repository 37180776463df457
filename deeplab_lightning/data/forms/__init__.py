"""What data sets of one make share; a data set itself is a file in `sets/`."""
