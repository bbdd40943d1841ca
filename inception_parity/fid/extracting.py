"""Features of image files from the FID's network, in any backend.

1. Decode with Pillow and convert to RGB. EXIF orientation is ignored, as in the implementations
   that published distances come from; of 16-bit grey the upper 8 bits are kept.
2. Pixels p in 0 … 255 become p / 256 (`tensorflow`) or p / 255 (`pytorch-fid`).
3. The network resizes to 299 x 299, bilinearly and without antialiasing: like TensorFlow 1,
   without half-pixel centres, or like PyTorch, with them. Then it takes 2x - 1.

`tensorflow` is what Heusel et al. and torch-fidelity do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..backends import Adapter, Job, adapter, loaded
from ..data import images
from ..errors import InputError
from ..traces.weights import Arrays
from .gaussians import Array, Gaussian, Moments

NETWORK = "fid_inception"
WIDTHS = (2048, 768, 192, 64)  # after avgpool, and means after Mixed_6e, maxpool2 and maxpool1


@dataclass(frozen=True)
class Preprocessing:
    """How pixels reach the network."""

    divisor: float  # of pixels in 0 … 255
    half_pixel_centres: bool  # in the network's resize


PREPROCESSINGS = {
    "tensorflow": Preprocessing(256.0, half_pixel_centres=False),
    "pytorch-fid": Preprocessing(255.0, half_pixel_centres=True),
}


class Extractor:
    """The FID's network in one backend.

    Args:
        backend: `pt`, `tf`, `mx` or `np`.
        arrays: its weights, by their shared names.
        preprocessing: how pixels reach it.
        width: number of features, one of WIDTHS.
        dtype: to compute in.
        device: `cpu` or `gpu`.

    Raises:
        UnavailableError: the backend can't be loaded, or can't compute in that dtype.
    """

    def __init__(
        self,
        backend: str,
        arrays: Arrays,
        preprocessing: Preprocessing,
        width: int = 2048,
        dtype: str = "float32",
        device: str = "cpu",
    ) -> None:
        options = {
            "in_channels": 3,
            "num_classes": len(arrays["fc.bias"]),
            "resize": True,
            "half_pixel_centres": preprocessing.half_pixel_centres,
        }
        self.preprocessing, self.width, self.dtype = preprocessing, width, dtype
        self.backend: Adapter = adapter(backend, device)
        self.net = loaded(self.backend, Job(NETWORK, options, dtype), arrays)

    def features(self, pixels: NDArray[np.uint8]) -> Array:
        """Return the features, (N, width), of images (N, H, W, 3)."""
        x = np.moveaxis(pixels, -1, 1) / self.preprocessing.divisor

        def run(x: Any, training: bool = False) -> Any:
            return self.net.features(x, self.width)

        found = self.backend.forward(run, self.backend.to_native(x, self.dtype))
        features = self.backend.to_shared(found).astype(np.float64)
        if not np.isfinite(features).all():
            raise InputError(f"features are infinite or NaN in {self.dtype}; give --dtype float32")
        return features

    def gaussian(
        self, files: Sequence[Path], batch: int, on_images: Callable[[int], None]
    ) -> Gaussian:
        """Return the distribution of the features of image files.

        Args:
            files: two or more.
            batch: number of images that run at once, where they are of one size.
            on_images: is told how many are done.

        Raises:
            InputError: a file isn't an image that can be used.
        """
        moments = Moments(self.width)
        for pixels in batches(files, batch):
            moments.add(self.features(pixels))
            on_images(moments.count)
        return moments.gaussian()


def batches(files: Sequence[Path], most: int) -> Iterator[NDArray[np.uint8]]:
    """Yield the files' pixels, (N, H, W, 3): up to `most` that follow each other and are alike.

    Raises:
        InputError: a file isn't an image that can be used.
    """
    waiting: list[NDArray[np.uint8]] = []
    for file in files:
        pixels = np.asarray(images.decoded(file, "RGB", turned=False))
        if waiting and (len(waiting) == most or waiting[0].shape != pixels.shape):
            yield np.stack(waiting)
            waiting = []
        waiting.append(pixels)
    if waiting:
        yield np.stack(waiting)
