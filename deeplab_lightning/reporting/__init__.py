"""What a run leaves to read and to look at: files, tables, plots, panels. Imports neither torch nor lightning."""
