"""Scenes drawn from a random stream: the embedded data set's images, masks, instances and distances."""

from .film import draw_frame
from .scene import DrawnObject, DrawnScene, draw_scene

__all__ = ["DrawnObject", "DrawnScene", "draw_frame", "draw_scene"]
