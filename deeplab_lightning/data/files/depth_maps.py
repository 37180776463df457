"""Depth maps from files: 16-bit PNG, TIFF of whole or floating numbers, or NumPy's own format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ...errors import DataError
from ...files import read_bytes
from ...memory import free_memory
from ...npz import read_npy
from .limits import expect_size, opened_image

DEPTH_SUFFIXES = (".png", ".tif", ".tiff", ".npy")


def read_depth(path: Path, scale: float = 1.0) -> np.ndarray:
    """Read a depth map.

    Args:
        path: Of a file of one channel.
        scale: What a stored value of 1 means in the wanted unit: 0.001 for millimetres in metres.

    Returns:
        `(H, W)` float32, 0 where the depth is unknown: where 0, less, infinity or no number is stored.

    Raises:
        DataError: The file is unreadable, or has several channels.
    """
    try:
        if path.suffix.lower() == ".npy":
            stored: Any = read_npy(path, "Save it again with numpy.save, as plain numbers.", free_memory() // 2)
        else:
            data = read_bytes(path)
            with opened_image(data) as image:
                expect_size(path, image.height, image.width, 8)
            stored = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except Exception as error:  # of what is torn or made up, Pillow and OpenCV raise a dozen kinds
        raise DataError(f"{path} cannot be read as a depth map: {error}") from error
    if stored is None:
        raise DataError(f"{path} cannot be read as a depth map: it is no PNG, TIFF or NumPy file that OpenCV knows.")
    if stored.ndim != 2 or not (np.issubdtype(stored.dtype, np.number) and np.isrealobj(stored)):
        raise DataError(
            f"{path} holds {stored.dtype} of shape {stored.shape}; a depth map has one number for each pixel: 16-bit "
            f"grey PNG, TIFF of one channel, or a NumPy array (H, W)."
        )
    depth = stored.astype(np.float32) * np.float32(scale)
    depth[~(np.isfinite(depth) & (depth > 0))] = 0
    return depth
