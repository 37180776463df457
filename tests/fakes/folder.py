"""A user's own folder of images and masks, in the forms in which people keep them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

HEIGHT, WIDTH = 40, 52
NAMES = tuple(f"pic{index}" for index in range(6))


def draw(number: int, classes: int = 2, height: int = HEIGHT, width: int = WIDTH) -> tuple[np.ndarray, np.ndarray]:
    """Draw blocks of classes: a mask `(H, W)` uint8, and an RGB image `(H, W, 3)` uint8 that shows them."""
    rng = np.random.default_rng(number)
    blocks = rng.integers(0, classes, (height // 8 + 1, width // 8 + 1), dtype=np.uint8)
    blocks.ravel()[:classes] = np.arange(classes)
    mask = np.kron(blocks, np.ones((8, 8), np.uint8))[:height, :width]
    shades = np.linspace(30, 220, classes)[mask][..., None] + rng.normal(0, 8, (height, width, 3))
    return mask, shades.clip(0, 255).astype(np.uint8)


def write_image(path: Path, image: np.ndarray) -> None:
    """Write `(H, W)` or `(H, W, C)` as the name's ending says; colours are RGB, TIFF of any type and channels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, image)
    elif path.suffix in (".tif", ".tiff") and (image.ndim == 3 or image.dtype.itemsize > 4):
        write_geotiff(path, image)
    elif image.dtype.itemsize > 1 and image.ndim == 3:
        path.write_bytes(cv2.imencode(path.suffix, image[..., [2, 1, 0, 3][: image.shape[2]]])[1].tobytes())
    else:
        Image.fromarray(image).save(path)


def write_geotiff(path: Path, image: np.ndarray, left: float | None = None, **options: object) -> None:
    """Write `(H, W, C)` or `(H, W)` by rasterio; pixels of 1 m from `left` on, if that is given."""
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    bands = image[..., None] if image.ndim == 2 else image
    height, width, count = bands.shape
    if left is not None:
        options["transform"] = rasterio.Affine(1, 0, left, 0, -1, 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        raster = rasterio.open(path, "w", "GTiff", width, height, count, dtype=bands.dtype, **options)
    with raster:
        raster.write(bands.transpose(2, 0, 1))


def write_nifti(path: Path, volume: np.ndarray, axes: str = "RAS") -> None:
    """Write a volume whose axes run right, front and up (a 4th: channels), stored in the order of `axes`."""
    import nibabel
    from nibabel.orientations import axcodes2ornt, inv_ornt_aff, ornt_transform

    turn = ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(axes))
    stored = nibabel.apply_orientation(volume, turn)
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(stored, inv_ornt_aff(turn, volume.shape[:3])), path)


def write_folder(
    root: Path,
    *,
    names: Sequence[str] = NAMES,
    classes: int = 2,
    images: str = "images",
    masks: str = "masks",
    suffix: str = ".png",
    mask_suffix: str = "",
    image_of: Callable[[np.ndarray], np.ndarray] = lambda image: image,
    mask_of: Callable[[np.ndarray], np.ndarray] = lambda mask: mask,
) -> Path:
    """Write images and masks, and return `root`.

    Args:
        root: Where the folders are put.
        names: Of the images, without ending.
        classes: Ids 0 to that.
        images: Folder of the images.
        masks: Folder of the masks.
        suffix: Ending of the images. Masks are PNG.
        mask_suffix: Behind the masks' names.
        image_of: Makes the stored image of an RGB one.
        mask_of: Makes the stored mask of ids.
    """
    for number, name in enumerate(names):
        mask, image = draw(number, classes)
        write_image(root / images / f"{name}{suffix}", image_of(image))
        write_image(root / masks / f"{name}{mask_suffix}.png", mask_of(mask))
    return root
