"""What stands in one file: images of every kind, and the annotations that lie beside them."""
