"""What a camera adds: exposure, colour cast, uneven light and sensor noise."""

from __future__ import annotations

import cv2
import numpy as np

from .textures import noise_bank, soft_field, wrapped_crop


def expose(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Turn a painted image into a photographed one.

    Args:
        rng: The scene's random stream.
        image: `(3, height, width)` float32 RGB, nominally 0..255.

    Returns:
        `(height, width, 3)` uint8 RGB.
    """
    height, width = image.shape[1:]
    cast = (rng.uniform(0.78, 1.14) * rng.uniform(0.92, 1.08, 3)).astype(np.float32)
    slope_x, slope_y = rng.uniform(-0.18, 0.18, 2).astype(np.float32)
    light = 1 + slope_y * np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    light = light + slope_x * np.linspace(-1, 1, width, dtype=np.float32)
    if rng.random() < 0.5:  # shadows of clouds
        light -= np.float32(rng.uniform(0.1, 0.3)) * np.clip(soft_field(rng, height, width) * 2, 0, 1)
    row, column = (int(corner) for corner in rng.integers(256, size=2))
    noise = wrapped_crop(noise_bank(), row, column, height, width)
    strength = np.float32(rng.uniform(1.5, 5.0))
    planes = image * light * cast[:, None, None] + strength * noise
    return cv2.merge([np.clip(plane, 0, 255).astype(np.uint8) for plane in planes])
