"""What the values and colours of masks mean."""
