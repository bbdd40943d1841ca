"""A race, as a picture: losses, and where and how fast rounding parts the weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..training.racing import Step
from . import figures

STYLES = {"float64": "-", "float32": "--"}
MOST_NAMES = 16  # of layers, below their axis


def draw(file: Path, title: str, steps: Sequence[Step]) -> None:
    """Draw the race into a PNG, SVG or PDF file.

    Args:
        file: its suffix says which.
        title: what was trained, and how.
        steps: what each step came to.

    Raises:
        InputError: matplotlib isn't installed, or the file can't be written.
    """
    figure = figures.new(15.0, 4.6)
    loss, distance, layers = figure.subplots(1, 3)
    numbers = [step.step for step in steps]
    colours = {name: f"C{n}" for n, name in enumerate(dict.fromkeys(map(_backend, steps[0].loss)))}
    last = steps[-1]
    for name in steps[0].loss:
        style = {"linestyle": _style(name), "color": colours[_backend(name)], "label": name}
        loss.plot(numbers, [step.loss[name] for step in steps], **style)
        distance.plot(numbers, [_above(step.distance[name]) for step in steps], **style)
        layers.plot([_above(d) for d in last.layers[name].values()], **style)
    distance.plot(numbers, [step.moved for step in steps], "k:", label="the way from the start")
    loss.set_title("training loss")
    distance.set_title("distance of the weights from the reference")
    layers.set_title(f"the same after step {last.step}, layer by layer")
    for axes in (loss, distance):
        axes.set_xlabel("step")
        axes.xaxis.get_major_locator().set_params(integer=True)
    for axes in (distance, layers):
        axes.set_yscale("log")
    names = list(next(iter(last.layers.values())))
    shown = range(0, len(names), -(-len(names) // MOST_NAMES))
    layers.set_xticks(list(shown), [names[n] for n in shown], rotation=60, ha="right", fontsize=7)
    for axes in (loss, distance, layers):
        axes.grid(alpha=0.3)
    distance.legend(fontsize=8)
    figure.suptitle(title)
    figures.write(figure, file)


def _backend(label: str) -> str:
    return label.split()[0]


def _style(label: str) -> str:
    return STYLES.get(label.split()[1], ":")


def _above(distance: float) -> float:
    """Return a distance for an axis of logarithms: a gap, where it is 0."""
    return distance if distance > 0 else float("nan")
