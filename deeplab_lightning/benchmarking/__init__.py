"""How fast networks are, from image to class map, and what that costs: the command `benchmark`."""
