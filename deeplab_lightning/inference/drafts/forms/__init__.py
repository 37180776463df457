"""The forms of annotation tools, a file each: its name is what `predict --write` calls it."""
