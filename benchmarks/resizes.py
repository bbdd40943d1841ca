"""How far each framework's own resize is from Pillow's, on the photographs: docs/pretrained.md.

python -m benchmarks.resizes
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inception_parity.data import images
from inception_parity.pretrained import Preprocessing

Pixels = NDArray[np.uint8]
Resize = Callable[[Pixels, int, int], Any]  # (H, W, 3), height, width -> the same


def of_torch() -> Iterator[tuple[str, Resize]]:
    import torch
    from torch.nn.functional import interpolate

    def resize(kind: torch.dtype, antialias: bool) -> Resize:
        def call(pixels: Pixels, height: int, width: int) -> Any:
            x = torch.from_numpy(pixels.transpose(2, 0, 1).copy()).to(kind)[None]
            y = interpolate(x, (height, width), mode="bilinear", antialias=antialias)
            return y[0].permute(1, 2, 0).numpy()

        return call

    yield "F.interpolate(antialias=True), uint8", resize(torch.uint8, True)
    yield "F.interpolate(antialias=True), float32", resize(torch.float32, True)
    yield "F.interpolate(), float32", resize(torch.float32, False)


def of_tensorflow() -> Iterator[tuple[str, Resize]]:
    import keras
    import tensorflow as tf

    for antialias in (True, False):
        yield (
            f"tf.image.resize({'antialias=True' if antialias else ''})",
            lambda x, h, w, antialias=antialias: tf.image.resize(x, (h, w), antialias=antialias),
        )
    yield "keras.layers.Resizing", lambda x, h, w: keras.layers.Resizing(h, w)(x.astype("float32"))


def of_mxnet() -> Iterator[tuple[str, Resize]]:
    import inception_mx  # noqa: F401  before MXNet, which can't be imported alone

    # isort: split
    import mxnet

    def resize(pixels: Pixels, height: int, width: int) -> Any:
        x = mxnet.np.array(pixels, dtype="uint8")
        return mxnet.image.imresize(x, width, height, interp=1).asnumpy()

    yield "mx.image.imresize", resize


def difference(resize: Resize, side: int) -> tuple[int, float]:
    """Return the largest and the mean difference from Pillow's, in levels of 255."""
    largest, means = 0, []
    for file in images.photographs():
        image = images.decoded(file, "RGB")
        for given in (image, image.resize((image.width - 1, image.height))):
            expected = np.asarray(Preprocessing(resize=side).fitted(given)).astype(int)
            found = np.asarray(resize(np.asarray(given), *expected.shape[:2]), dtype=float)
            apart = np.abs(np.clip(np.rint(found), 0, 255) - expected)
            largest = max(largest, int(apart.max()))
            means.append(float(apart.mean()))
    return largest, float(np.mean(means))


def main() -> None:
    for framework in (of_torch, of_tensorflow, of_mxnet):
        for name, resize in framework():
            cells = (f"{d[0]}, {d[1]:.3f}" for d in (difference(resize, s) for s in (342, 224)))
            print(f"| `{name}` | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
