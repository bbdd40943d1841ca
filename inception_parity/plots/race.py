"""A race, as a picture: losses, and where and how fast rounding drives the weights apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from . import figures

STYLES = {"float64": "-", "float32": "--"}
MOST_NAMES = 16  # of layers, below their axis
Lines = Mapping[str, Sequence[float]]  # by runner, such as `pt float64`


def draw(
    file: Path, title: str, losses: Lines, distances: Lines, moved: Sequence[float],
    layers: Mapping[str, Mapping[str, float]],
) -> None:  # fmt: skip
    """Draw the race into a PNG, SVG or PDF file.

    Args:
        file: its suffix says which.
        title: what was trained, and how.
        losses: of every step, by runner.
        distances: of the weights from the reference, after every step, by runner.
        moved: how far the reference has come from the start, after every step.
        layers: the distances after the last step, by runner and layer.

    Raises:
        InputError: matplotlib isn't installed, or the file can't be written.
    """
    figure = figures.new(15.0, 4.6)
    loss, distance, by_layer = figure.subplots(1, 3)
    numbers = range(1, len(moved) + 1)
    colours = {name: f"C{n}" for n, name in enumerate(dict.fromkeys(map(_backend, losses)))}
    for name in losses:
        style = {"linestyle": _style(name), "color": colours[_backend(name)], "label": name}
        loss.plot(numbers, losses[name], **style)
        distance.plot(numbers, [_above(d) for d in distances[name]], **style)
        by_layer.plot([_above(d) for d in layers[name].values()], **style)
    distance.plot(numbers, moved, "k:", label="the way from the start")
    loss.set_title("training loss")
    distance.set_title("distance of the weights from the reference")
    by_layer.set_title(f"the same after step {len(moved)}, layer by layer")
    for axes in (loss, distance):
        axes.set_xlabel("step")
        axes.xaxis.get_major_locator().set_params(integer=True)
    for axes in (distance, by_layer):
        axes.set_yscale("log")
    names = list(next(iter(layers.values())))
    shown = range(0, len(names), -(-len(names) // MOST_NAMES))
    by_layer.set_xticks(list(shown), [names[n] for n in shown], rotation=60, ha="right", fontsize=7)
    for axes in (loss, distance, by_layer):
        axes.grid(alpha=0.3)
    distance.legend(fontsize=8)
    figure.suptitle(title)
    figures.write(figure, file)


def _backend(label: str) -> str:
    return label.split()[0]


def _style(label: str) -> str:
    return STYLES.get(label.split()[1], ":")


def _above(distance: float) -> float:
    """Return a distance for a logarithmic axis, which has a gap where it is 0."""
    return distance if distance > 0 else float("nan")
