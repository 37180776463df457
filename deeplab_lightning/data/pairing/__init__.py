"""Which files belong together: names, patterns, lists and splits."""
