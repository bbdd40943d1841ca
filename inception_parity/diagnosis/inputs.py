"""Mistakes before the first layer: channel order, scale, layout, resizing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import permutations, product
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..data.images import centred_box, decoded, scaled
from ..errors import InputError
from .arrays import CannotComputeError, per_channel
from .fixes import fix
from .forward import compute
from .suspect import Array, Candidate, SuspectLayer

# What people bring images to: (what, scale, shift) of a pixel p in 0 … 255.
MEAN, STD = np.array((0.485, 0.456, 0.406)), np.array((0.229, 0.224, 0.225))
CAFFE = np.array((123.68, 116.779, 103.939))
CONVENTIONS = (
    ("pixels 0 … 255", 1.0, 0.0),
    ("pixels over 255: 0 … 1", 1 / 255, 0.0),
    ("pixels over 127.5, less 1: -1 … 1", 1 / 127.5, -1.0),
    ("(pixels - 128) / 128", 1 / 128, -1.0),
    ("ImageNet's mean and standard deviation", 1 / (255 * STD), -MEAN / STD),
    ("ImageNet's mean, without the deviation", 1 / 255, -MEAN),
    ("Caffe's mean subtracted from 0 … 255", 1.0, -CAFFE),
)
OUR_SCALE, OUR_SHIFT = 1 / 128, -255 / 256  # of `images.py`: (2p - 255) / 256


def colours(layer: SuspectLayer) -> Iterator[Candidate]:
    """The channels of the images in another order."""
    count = layer.inputs[0].shape[1]
    if not 2 <= count <= 4:
        return
    mistake = partial(Candidate, "channel-order", fix=fix(layer, "read-rgb"))
    for order in permutations(range(count)):
        if order != tuple(range(count)):
            bgr = order == (2, 1, 0)
            what = "BGR, but should be RGB" if bgr else f"channels in the order {order}"
            changed = layer.fed(layer.inputs[0][:, list(order)])
            cost = 1 if order == tuple(range(count))[::-1] else 2
            yield mistake(f"the images are {what}", changed, cost)


def convention(layer: SuspectLayer) -> Iterator[Candidate]:
    """Images scaled by another convention."""
    mistake = partial(Candidate, "scale", fix=fix(layer, "preprocessing"))
    x = layer.inputs[0]
    for what, scale, shift in CONVENTIONS:
        if max(np.size(scale), np.size(shift)) == 3 != x.shape[1]:
            continue
        a = per_channel(scale / OUR_SCALE, 4)
        b = per_channel(shift - scale / OUR_SCALE * OUR_SHIFT, 4)
        yield mistake(f"the images come as: {what}", layer.fed(x * a + b))
        yield mistake(f"the images come as: {what} undone", layer.fed((x - b) / a), 3)


def affine(layer: SuspectLayer) -> Iterator[Candidate]:
    """Images scaled and shifted per channel, by numbers that are solved for."""
    if not layer.same_shape or layer.inputs[0].ndim != 4:
        return
    orders = [tuple(range(layer.inputs[0].shape[1]))]
    if layer.inputs[0].shape[1] == 3:
        orders.append((2, 1, 0))
    for order in orders:
        x = layer.inputs[0][:, list(order)]
        found = _solved(layer, x)
        if found is None:
            continue
        scale, shift = found
        same, said = _said(scale, shift)
        bgr = "" if order == orders[0] else "BGR, and "
        text = f"the images are {bgr}{said}"
        plain = np.abs(shift).max() < 1e-9 * np.abs(scale).max()
        cost = (2 if plain and same else 3 if same else 4) + (0 if order == orders[0] else 1)
        fed = layer.fed(x * per_channel(scale, 4) + per_channel(shift, 4))
        cause = "scale" if order == orders[0] else "channel-order + scale"
        yield Candidate(cause, text, fed, cost, fix=fix(layer, "preprocessing"))


def _said(scale: Array, shift: Array) -> tuple[bool, str]:
    """Return whether all channels have the same scale and shift, and both in words."""
    same = np.ptp(scale) < 1e-8 * abs(scale[0]) and np.ptp(shift) < 1e-8 * max(
        abs(shift[0]), abs(scale[0])
    )
    shift = np.where(np.abs(shift) < 1e-12 * np.abs(scale), 0.0, shift)
    shown = [f"{s:.6g}" for s in (scale[:1] if same else scale)]
    moved = [f"{s:.6g}" for s in (shift[:1] if same else shift)]
    return bool(same), f"times {', '.join(shown)} plus {', '.join(moved)}"


def _solved(layer: SuspectLayer, x: Array) -> tuple[Array, Array] | None:
    """Return scale and shift per channel by least squares over what the layer makes of each."""
    count = x.shape[1]
    if count > 4 or layer.post:
        return None
    if layer.kind not in ("conv", "input", "affine", "resize"):
        return None
    try:
        nothing = compute(layer.fed(np.zeros_like(x)))
        effects = []
        for c in range(count):
            for one in (x, np.ones_like(x)):
                alone = np.zeros_like(x)
                alone[:, c] = one[:, c]
                effects.append((compute(layer.fed(alone)) - nothing).reshape(-1))
    except CannotComputeError:
        return None
    if nothing.shape != layer.seen.shape or not np.isfinite(layer.seen).all():
        return None
    matrix, right = np.stack(effects), (layer.seen - nothing).reshape(-1)
    solved = np.linalg.lstsq(matrix @ matrix.T, matrix @ right, rcond=None)[0]
    return solved[0::2], solved[1::2]


def geometry(layer: SuspectLayer) -> Iterator[Candidate]:
    """Images mirrored, transposed, moved by a pixel, or read in another layout."""
    x = layer.inputs[0]
    if x.ndim != 4:
        return
    n, c, h, w = x.shape
    changes: dict[str, Array] = {
        "mirrored": x[:, :, :, ::-1],
        "upside down": x[:, :, ::-1],
        "turned by 180 degrees": x[:, :, ::-1, ::-1],
    }
    if h == w:
        changes["transposed: height and width exchanged"] = x.swapaxes(2, 3)
    mistake = partial(Candidate, fix=fix(layer, "image-geometry"))
    for text, changed in changes.items():
        cost = 1 if layer.kind == "input" else 2
        yield mistake("image-turned", f"the images are {text}", layer.fed(changed), cost)
    layout = "the images' numbers are in the order of another layout: reshaped, not transposed"
    mistake = partial(Candidate, fix=fix(layer, "transpose"))
    for changed in (x.reshape(n, h, w, c).transpose(0, 3, 1, 2),
                    x.transpose(0, 2, 3, 1).reshape(x.shape)):  # fmt: skip
        yield mistake("layout", layout, layer.fed(changed), 2)
    mistake = partial(Candidate, fix=fix(layer, "image-position"))
    for down, right in product((-1, 0, 1), repeat=2):
        if down or right:
            text = f"the images are moved by {down} rows and {right} columns, round the edge"
            moved = np.roll(x, (down, right), axis=(2, 3))
            yield mistake("image-moved", text, layer.fed(moved), 3)


def quantised(layer: SuspectLayer) -> Iterator[Candidate]:
    """Images rounded on the way: to 8 bits, to whole numbers."""
    mistake = partial(Candidate, "scale", cost=3, fix=fix(layer, "unrounded"))
    x = layer.inputs[0]
    pixels = (x - OUR_SHIFT) / OUR_SCALE
    for text, changed in (
        ("rounded down to whole numbers", np.trunc(x)),
        ("rounded to 1/256", np.round(x * 256) / 256),
        ("rounded to 1/255", np.round(x * 255) / 255),
        ("cut at 0", np.maximum(x, 0)),
        ("off by one in 255: p / 255 for p / 256", pixels * 2 / 255 - 1),
    ):
        yield mistake(f"the images are {text}", layer.fed(changed))


def resized(layer: SuspectLayer) -> Iterator[Candidate]:
    """The image files decoded and resized in another way, if the files are known."""
    if layer.kind != "input" or not layer.sources or not layer.same_shape:
        return
    if len(layer.sources) != len(layer.seen):
        return
    for text, read in _resizers():
        try:
            images = np.stack([
                read(Path(f), layer.seen.shape[2:], layer.seen.shape[1]) for f in layer.sources
            ])  # fmt: skip
        except InputError:
            return
        for bgr in (False, True) if images.shape[1] == 3 else (False,):
            fed = layer.fed(images[:, ::-1] if bgr else images)
            cause = "channel-order + resize" if bgr else "resize"
            said = f"the images were resized in another way: {text}" + (", and BGR" if bgr else "")
            yield Candidate(cause, said, fed, 2 + bgr, fix=fix(layer, "resize"))


def _resizers() -> Iterator[tuple[str, Callable[..., Array]]]:
    """Yield (what, function of file, size and channels) for common ways of resizing."""
    for name in ("nearest", "box", "bicubic", "Lanczos", "Hamming"):
        yield f"{name} filter", partial(_pillow, resampling=Image.Resampling[name.upper()])
    bilinear = Image.Resampling.BILINEAR
    yield "squeezed, not cut to the centre", partial(_pillow, resampling=bilinear, crop=False)
    beyond = "the filter takes in what is beyond the box"
    yield beyond, partial(_pillow, resampling=bilinear, beyond=True)
    for align in (False, True):
        what = "bilinear without antialiasing" + (", corners aligned" if align else "")
        yield what, partial(_plain_bilinear, align=align)
        yield f"{what}, squeezed", partial(_plain_bilinear, align=align, crop=False)


def _pillow(
    file: Path, size: tuple[int, int], channels: int, resampling: Any, crop: bool = True,
    beyond: bool = False,
) -> Array:  # fmt: skip
    image = decoded(file, "L" if channels == 1 else "RGB")
    box = centred_box(image, size) if crop else None
    if box is not None and not beyond:
        image, box = image.crop(box), None
    return scaled(np.asarray(image.resize(size[::-1], resampling, box=box), dtype=np.float64))


def _plain_bilinear(
    file: Path, size: tuple[int, int], channels: int, align: bool, crop: bool = True
) -> Array:
    """Four neighbours only, with half-pixel centres or aligned corners, not rounded."""
    image = decoded(file, "L" if channels == 1 else "RGB")
    image = image.crop(centred_box(image, size)) if crop else image
    pixels = np.asarray(image, dtype=np.float64)
    for axis, length in enumerate(size):
        have = pixels.shape[axis]
        at = np.arange(length) * (have - 1) / max(1, length - 1) if align else (
            (np.arange(length) + 0.5) * have / length - 0.5
        )  # fmt: skip
        at = np.clip(at, 0, have - 1)
        low = np.floor(at).astype(int)
        high = np.minimum(low + 1, have - 1)
        part = np.expand_dims(at - low, tuple(i for i in range(pixels.ndim) if i != axis))
        pixels = pixels.take(low, axis) * (1 - part) + pixels.take(high, axis) * part
    return scaled(pixels)


def transform(layer: SuspectLayer) -> Iterator[Candidate]:
    """A fixed scale and shift that is inverted, halved, or in another order."""
    scale, shift = np.atleast_1d(layer.get("scale")), np.atleast_1d(layer.get("shift"))
    mistake = partial(Candidate, "input-transform", fix=_transform_fix(layer))
    options = {
        "only scaled, nothing added": layer.but(shift=np.zeros_like(shift)),
        "only shifted, not scaled": layer.but(scale=np.ones_like(scale)),
        "the inverse": layer.but(scale=1 / scale, shift=-shift / scale),
        "shift and scale exchanged": layer.but(scale=shift, shift=scale),
        "shifted first, then scaled": layer.but(shift=shift * scale),
        "subtracted, not added": layer.but(shift=-shift),
    }
    if max(scale.size, shift.size) > 1:
        turned = layer.but(scale=scale[::-1], shift=shift[::-1])
        options["its numbers in the order B, G, R"] = turned
    for text, changed in options.items():
        yield mistake(f"the input transform is {text}", changed)


def rescaled(layer: SuspectLayer) -> Iterator[Candidate]:
    """Another scale and shift: those of a convention for images, or any, which are solved for."""
    x = layer.inputs[0]
    if x.ndim != 4 or not layer.same_shape:
        return
    mistake = partial(Candidate, "input-transform", fix=_transform_fix(layer))
    right = _one_for_all(layer)
    if right:  # such a layer takes images in 0 … 1
        text = "images in 0 … 255 are given to a layer for 0 … 1"
        yield mistake(text, layer.fed(255 * x), 2)
        text = "images in 0 … 1 are given to a layer for 0 … 255"
        yield mistake(text, layer.fed(x / 255), 2)
        for what, scale, shift in CONVENTIONS:
            if max(np.size(scale), np.size(shift)) in (1, x.shape[1]):
                changed = layer.but(scale=np.multiply(255, scale), shift=shift)
                yield mistake(f"images in 0 … 1 come out as: {what}", changed)
    found = _solved(replace(layer, kind="input", attributes={}), x)
    if found is not None:
        same, said = _said(*found)
        text = f"the input transform is {said}"
        if right:
            text += ", but should be times {:g} plus {:g}".format(*right)
        changed = layer.but(scale=found[0], shift=found[1])
        yield mistake(text, changed, 3 if same else 4)


def _one_for_all(layer: SuspectLayer) -> tuple[float, ...]:
    """Return an affine layer's scale and shift, or nothing if channels have their own."""
    numbers = [np.atleast_1d(layer.get(name)) for name in ("scale", "shift")]
    one = all(array.size == 1 for array in numbers)
    return tuple(float(array[0]) for array in numbers) if one else ()


def _transform_fix(layer: SuspectLayer) -> str:
    right = _one_for_all(layer)
    if not right:
        return fix(layer, "transform")
    scale, shift = right
    formula = f"{scale:g} * x {'-' if shift < 0 else '+'} {abs(shift):g}"
    return fix(layer, "rescale", formula=formula, scale=scale, shift=shift)


INPUT = (colours, convention, affine, geometry, quantised, resized)
FIRST_LAYER = (colours, affine, geometry)
AFFINE = (transform, rescaled, colours)


def is_first(layer: SuspectLayer) -> bool:
    """Whether the layer's input looks like images: at most four channels."""
    return bool(layer.inputs) and layer.inputs[0].ndim == 4 and layer.inputs[0].shape[1] <= 4
