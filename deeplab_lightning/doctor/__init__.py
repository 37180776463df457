"""`doctor`: looks at a data set before it costs hours: what is wrong, what is true of it, and what would suit it."""
