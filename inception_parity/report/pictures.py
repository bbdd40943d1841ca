"""Arrays as small pictures: maps of a byte per pixel, histograms, the worst elements.

A picture shows the image of the batch with the largest difference: the reference, the
result and their difference, over all channels and in the worst one. Large maps are reduced
area by area. A difference in one pixel stays visible: an area shows its largest.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..comparison.comparing import Comparison

Array = NDArray[np.float64]
Extent = tuple[float, float]
Means = dict[tuple[int, int], Array]  # (image, side) -> a reference's mean size over channels

SIDE = 64  # of a map, at most, where an endpoint doesn't agree
SMALL_SIDE = 18  # where it does
BINS = 32
SAMPLE = 1 << 16  # values that a histogram counts, at most
WORST = 10  # elements that are listed
NOT_FINITE = 255  # the pixel of a NaN or an infinity; numbers have 0 to 254


@dataclass
class MapPool:
    """Maps of a whole page, each once: many endpoints look the same in all backends."""

    maps: list[list[Any]] = field(default_factory=list)
    counts: list[list[int]] = field(default_factory=list)  # of histograms
    _known: dict[tuple[Any, ...], int] = field(default_factory=dict)

    def add(self, plane: Array, extent: Extent, signed: bool) -> int:
        """Return the number of a map of `plane`, with `extent` spread over its pixels' values."""
        pixels = _quantise(plane, extent)
        key = (pixels.tobytes(), pixels.shape, extent, signed)
        if key not in self._known:
            self._known[key] = len(self.maps)
            height, width = pixels.shape
            text = base64.b64encode(pixels.tobytes()).decode()
            self.maps.append([width, height, *map(_short, extent), int(signed), text])
        return self._known[key]

    def count(self, values: Array, extent: Extent) -> int:
        """Return the number of a histogram of `values` over `extent`."""
        low, high = extent
        if high > low:
            counts = [int(n) for n in _histogram(values, low, high)]
        else:
            counts = [values.size if i == BINS // 2 else 0 for i in range(BINS)]
        key = tuple(counts)
        if key not in self._known:
            self._known[key] = len(self.counts)
            self.counts.append(counts)
        return self._known[key]


def _short(number: float) -> float:
    return float(f"{number:.5g}")


def picture(
    pool: MapPool,
    comparison: Comparison,
    found: NDArray[Any],
    reference: NDArray[Any],
    full: bool,
    means: Means | None = None,
) -> dict[str, Any]:
    """Return what the page shows of one endpoint of one run.

    Args:
        pool: where the maps go.
        comparison: the endpoint's numbers.
        found: the run's array.
        reference: the array that it is compared with.
        full: large maps of the worst channel as well, and a list of worst elements.
        means: a cache of the reference's means, for all runs that are compared with it.
    """
    means = {} if means is None else means
    side = SIDE if full else SMALL_SIDE
    if found.shape != reference.shape or 0 in found.shape:
        return _apart(pool, found, reference, side)
    worst = comparison.worst or _first_not_finite(found)
    image, channel = _place(reference.shape, worst)
    ours, theirs = (_channels(a, image) for a in (found, reference))
    with np.errstate(invalid="ignore", over="ignore"):
        if (image, side) not in means:
            means[image, side] = _mean_size(theirs, side)
        views = {"all": _overview(pool, ours, theirs, means[image, side], side)}
        if full and len(theirs) > 1:
            views["worst"] = _triple(pool, ours[channel], theirs[channel], side)
        return {
            "image": [image, len(found)] if _is_plane(found.shape) else None,
            "channel": [channel, len(theirs)] if len(theirs) > 1 else None,
            "mark": _mark(reference.shape, worst),
            "views": views,
            "histogram": _histograms(pool, ours, theirs),
            "worst": _worst(found, reference, worst, WORST if full else 1),
        }


def _is_plane(shape: Sequence[int]) -> bool:
    """Return whether an image of the batch has a height and a width."""
    return len(shape) > 2 and int(np.prod(shape[2:])) > 1


def _channels(array: NDArray[Any], image: int) -> Array:
    """Return one image as (channels, height, width); without a plane, all images as rows."""
    values = np.asarray(array)
    if not _is_plane(values.shape):
        rows = len(values) if values.ndim else 1
        return values.reshape(1, rows, -1).astype(np.float64, copy=False)
    values = values[image]
    channels = values.shape[0] if values.ndim > 2 else 1
    return values.reshape(channels, -1, values.shape[-1]).astype(np.float64, copy=False)


def _place(shape: Sequence[int], worst: Sequence[int]) -> tuple[int, int]:
    """Return the image and the channel of an element."""
    if not worst or not _is_plane(shape):
        return 0, 0
    return worst[0], worst[1] if len(shape) > 3 else 0


def _mark(shape: Sequence[int], worst: Sequence[int]) -> list[float] | None:
    """Return where an element is on its map: parts of the width and of the height."""
    if not worst:
        return None
    inner = tuple(shape)
    if _is_plane(shape):
        inner = inner[2:] if len(inner) > 3 else inner[1:]
        width = inner[-1]
    else:
        width = int(np.prod(inner[1:]))
    flat = int(np.ravel_multi_index(tuple(worst)[-len(inner) :], inner))
    height = int(np.prod(inner)) // width
    return [round((flat % width + 0.5) / width, 4), round((flat // width + 0.5) / height, 4)]


def _first_not_finite(array: NDArray[Any]) -> tuple[int, ...]:
    bad = np.flatnonzero(~np.isfinite(np.asarray(array)))
    return tuple(int(i) for i in np.unravel_index(bad[0], array.shape)) if bad.size else ()


def _mean_size(array: Array, side: int) -> Array:
    """Return the mean size over the channels, small."""
    return _shrink(np.abs(array).mean(axis=0), side, _mean)


def _overview(
    pool: MapPool, ours: Array, theirs: Array, mean: Array, side: int
) -> list[int | None]:
    """Return mean sizes over the channels, and the largest difference in any of them.

    `mean` is the reference's, already reduced.
    """
    maps: list[int | None] = _pair(pool, [mean, _mean_size(ours, side)])
    apart = ours - theirs
    difference = _shrink(np.abs(apart, out=apart).max(axis=0), side, _largest)
    return [*maps, pool.add(difference, (0.0, _top(difference)), False)]


def _triple(pool: MapPool, ours: Array, theirs: Array, side: int) -> list[int | None]:
    small = [_shrink(plane, side, _mean) for plane in (theirs, ours)]
    maps: list[int | None] = _pair(pool, small)
    difference = _shrink(ours - theirs, side, _largest)
    top = _top(difference)
    return [*maps, pool.add(difference, (-top, top), True)]


def _pair(pool: MapPool, small: list[Array]) -> list[int | None]:
    """Return maps of reference and found, on one scale."""
    tops = [_top(plane) for plane in small]
    signed = any(bool((plane < 0).any()) for plane in small)
    high = max(tops)
    extent = (-high if signed else 0.0, high)
    return [pool.add(plane, extent, signed) for plane in small]


def _apart(
    pool: MapPool, found: NDArray[Any], reference: NDArray[Any], side: int
) -> dict[str, Any]:
    """Return pictures of two arrays that can't be subtracted."""
    maps: list[int | None] = []
    for array in (reference, found):
        if 0 in array.shape:
            maps.append(None)
            continue
        plane = _shrink(np.abs(_channels(array, 0)).mean(axis=0), side, _mean)
        maps.append(pool.add(plane, (0.0, _top(plane)), False))
    return {"image": None, "channel": None, "mark": None, "views": {"all": [*maps, None]},
            "histogram": None, "worst": []}  # fmt: skip


def _mean(block: Array) -> Array:
    return block.mean(axis=(1, 3))


def _largest(block: Array) -> Array:
    """Return the value of the largest size in each area, with its sign."""
    high, low = block.max(axis=(1, 3)), block.min(axis=(1, 3))
    return np.where(np.abs(low) > np.abs(high), low, high)


def _shrink(plane: Array, side: int, take: Callable[[Array], Array]) -> Array:
    """Return `plane` with at most `side` rows and columns, by areas of whole pixels."""
    rows, columns = (-(-n // side) for n in plane.shape)
    if rows == columns == 1:
        return plane
    height, width = plane.shape
    padded = np.pad(plane, ((0, -height % rows), (0, -width % columns)), mode="edge")
    blocks = padded.reshape(padded.shape[0] // rows, rows, padded.shape[1] // columns, columns)
    return take(blocks)


def _top(plane: Array) -> float:
    finite = np.abs(plane[np.isfinite(plane)])
    return float(finite.max()) if finite.size else 0.0


def _quantise(plane: Array, extent: Extent) -> NDArray[np.uint8]:
    low, high = extent
    finite = np.isfinite(plane)
    scaled = (np.where(finite, plane, low) - low) / ((high - low) or 1.0) * (NOT_FINITE - 1)
    return np.where(finite, np.rint(scaled).clip(0, NOT_FINITE - 1), NOT_FINITE).astype(np.uint8)


def _histograms(pool: MapPool, ours: Array, theirs: Array) -> dict[str, Any] | None:
    """Return counts of the reference's, the run's and the differences' values."""
    step = max(1, theirs.size // SAMPLE) | 1  # odd: most widths are even
    reference, found = (a.reshape(-1)[::step] for a in (theirs, ours))
    finite = np.isfinite(found - reference)
    if not finite.all():
        reference, found = reference[finite], found[finite]
    if not reference.size:
        return None
    low = float(min(reference.min(), found.min()))
    high = float(max(reference.max(), found.max()))
    difference = found - reference
    size = float(np.abs(difference).max())
    return {
        "values": [_short(low), _short(high)],
        "reference": pool.count(reference, (low, high)),
        "found": pool.count(found, (low, high)),
        "differences": [-_short(size), _short(size)],
        "difference": pool.count(difference, (-size, size)),
    }


def _histogram(values: Array, low: float, high: float) -> NDArray[np.int64]:
    """Return the counts of `np.histogram` over (low, high), which holds all values, but faster.

    Only values next to the edge of a bin need its exact rule. The first bin has no such edge.
    """
    if not 1e-300 < high - low < 1e300:  # that can't be divided by
        return np.histogram(values, BINS, (low, high))[0]
    place = values - low
    place *= BINS / (high - low)
    bins = place.astype(np.int32)
    place -= np.rint(place)
    near = np.flatnonzero((np.abs(place, out=place) < 1e-6) & (values - low > 0))
    counts = np.bincount(bins, minlength=BINS + 1) - np.bincount(bins[near], minlength=BINS + 1)
    return counts[:BINS] + np.histogram(values[near], BINS, (low, high))[0]


def _worst(
    found: NDArray[Any], reference: NDArray[Any], worst: Sequence[int], count: int
) -> list[Any]:
    """Return [index, reference, found, difference] of the elements that differ most."""
    if count == 1:
        places = [tuple(worst)] if worst else []
    else:
        difference = np.abs(found.astype(np.float64) - reference).reshape(-1)
        difference[~np.isfinite(difference)] = np.inf
        count = min(count, difference.size)
        flat = np.argpartition(difference, -count)[-count:]
        flat = flat[np.argsort(-difference[flat], kind="stable")]
        places = [
            tuple(int(i) for i in np.unravel_index(j, found.shape))
            for j in flat
            if difference[j] > 0
        ]
    return [[list(p), *_values(float(reference[p]), float(found[p]))] for p in places]


def _values(reference: float, found: float) -> list[float | None]:
    values = (reference, found, found - reference)
    return [_short(v) if math.isfinite(v) else None for v in values]
