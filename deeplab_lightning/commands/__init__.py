"""Commands beside fit, validate and test: one module each, imported when called."""
