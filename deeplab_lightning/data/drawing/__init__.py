"""Scenes drawn from a random stream: the embedded data set's pictures, masks, instances and distances."""

from .scene import DrawnObject, DrawnScene, draw_scene

__all__ = ["DrawnObject", "DrawnScene", "draw_scene"]
