"""Image files, and the one preprocessing for every backend.

1. Decode with Pillow, turn as EXIF says, convert to RGB, or to L (ITU-R 601
   luma) for one channel. Transparency is dropped, not blended; of 16-bit grey
   the upper 8 bits are kept.
2. Cut the largest centred box of the target's proportions. Its sides are
   rounded to whole pixels, its offsets rounded down.
3. Resize the box, and nothing around it, to the target with Pillow's bilinear
   filter, which averages over the source pixels when it reduces (antialiasing),
   on 8-bit values.
4. A pixel p in 0 … 255 becomes (2p - 255) / 256: between -1 and 1, and exact in
   every dtype down to bfloat16, so that no backend starts with a rounding error.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from ..errors import InputError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm")
MOST_PIXELS = 100_000_000  # 10,000 x 10,000; a larger one counts as a decompression bomb


def photographs() -> list[Path]:
    """Return the six photographs that come with the package."""
    return sorted((Path(__file__).parent / "photographs").glob("*.png"))


def find(path: Path) -> list[Path]:
    """Return `path` if it is a file, or the images in it, by name, if it is a folder.

    Raises:
        InputError: there is no such path, or no image in the folder.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        problem = "neither a file nor a folder" if path.exists() else "no such image or folder"
        raise InputError(f"{path}: {problem}")
    found = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file())
    if not found:
        raise InputError(f"{path}: no image in this folder (looked for {' '.join(SUFFIXES)})")
    return found


def load(files: Sequence[Path], size: tuple[int, int], channels: int) -> NDArray[np.float64]:
    """Return the images as (N, channels, height, width), preprocessed as stated above.

    Args:
        files: image files.
        size: (height, width).
        channels: 1 (luma) or 3 (RGB).

    Raises:
        InputError: names every file that can't be used, and why.
    """
    if channels not in (1, 3):
        raise InputError(
            f"in_channels={channels}, but images have 1 (luma) or 3 (RGB) channels; "
            "give --set in_channels=1 or --set in_channels=3"
        )
    loaded, wrong = [], []
    for file in files:
        try:
            loaded.append(_preprocess(file, size, "L" if channels == 1 else "RGB"))
        except InputError as error:
            wrong.append(str(error))
    if wrong:
        raise InputError("\n  ".join(wrong))
    return np.stack(loaded)


def _preprocess(file: Path, size: tuple[int, int], mode: str) -> NDArray[np.float64]:
    return scaled(np.asarray(fitted(decoded(file, mode), size)))


def scaled(pixels: NDArray[Any]) -> NDArray[np.float64]:
    """Return pixels, (H, W) or (H, W, 3), as (C, H, W) between -1 and 1 (step 4)."""
    pixels = pixels.reshape(*pixels.shape[:2], -1).transpose(2, 0, 1)
    return (2.0 * pixels - 255.0) / 256.0


def centred_box(image: Image.Image, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return the largest centred box of the proportions of `size`: left, top, right, bottom."""
    height, width = size
    box_width = min(image.width, max(1, round(image.height * width / height)))
    box_height = min(image.height, max(1, round(image.width * height / width)))
    left, top = (image.width - box_width) // 2, (image.height - box_height) // 2
    return left, top, left + box_width, top + box_height


def fitted(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return the largest centred box of the proportions of `size`, resized to it (steps 2, 3).

    Args:
        image: a decoded image, of 8 bits a channel.
        size: (height, width).
    """
    height, width = size
    if (image.height, image.width) == size:
        return image
    # Not `resize(box=…)`: there the filter takes in pixels from beyond the box.
    return image.crop(centred_box(image, size)).resize((width, height), Image.Resampling.BILINEAR)


def _eight_bits(image: Image.Image, file: Path) -> Image.Image:
    """Bring 16-bit grey to 8 bits, where Pillow's `convert` would clip it to white."""
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise InputError(f"{file}: 32-bit pixels, but 8 or 16 bits are read; convert it first")
    return image


def decoded(file: Path, mode: str, turned: bool = True) -> Image.Image:
    """Return the image in a file in `mode`: `L` or `RGB` (step 1).

    Args:
        file: the image file.
        mode: Pillow's.
        turned: whether it is turned as EXIF says.

    Raises:
        InputError: it isn't an image that can be used.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of bombs; the line below refuses them
            with Image.open(file) as image:
                if image.width * image.height > MOST_PIXELS:
                    raise InputError(
                        f"{file}: {image.width}x{image.height} pixels, but at most "
                        f"{MOST_PIXELS:,} are decoded; reduce it first"
                    )
                image.load()
                upright = ImageOps.exif_transpose(image) if turned else image
                return _eight_bits(upright, file).convert(mode)
    except Image.DecompressionBombError as error:
        raise InputError(f"{file}: too many pixels ({error}); reduce it first") from error
    except UnidentifiedImageError as error:
        raise InputError(f"{file}: not an image that Pillow can read; give PNG or JPEG") from error
    except InputError:
        raise
    except Exception as error:  # a decoder raises whatever a broken file leads it to
        raise InputError(f"{file}: a broken image ({error})") from error


LARGEST_SIDE = 4096  # a larger image would need tens of gigabytes of traces


def parse_size(text: str) -> tuple[int, int]:
    """Turn `224` or `224x160` into (height, width)."""
    match = re.fullmatch(r"(\d{1,6})(?:x(\d{1,6}))?", text.strip().lower())
    if match is None:
        raise InputError(f"size {text!r}, but should be like 224, or 224x160 (height x width)")
    height = int(match[1])
    width = int(match[2]) if match[2] else height
    if not 1 <= min(height, width) <= max(height, width) <= LARGEST_SIDE:
        raise InputError(f"size {text}, but each side should be 1 to {LARGEST_SIDE}")
    return height, width
