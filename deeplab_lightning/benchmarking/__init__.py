"""How fast networks are, from picture to class map, and what that costs: the command `benchmark`."""
