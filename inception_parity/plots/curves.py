"""Learning curves, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError
from . import figures


def draw(file: Path, title: str, history: Sequence[dict[str, Any]]) -> None:
    """Draw loss and accuracy over the epochs, if matplotlib is installed.

    Args:
        file: the PNG to write.
        title: what was trained, and how.
        history: a record per epoch, as in the metrics.

    Raises:
        InputError: the file can't be written.
    """
    try:
        figure = figures.new(9.0, 3.6)
    except InputError:
        return
    epochs = [record["epoch"] for record in history]
    for axes, what in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for split, style in (("train", "o-"), ("test", "s--")):
            values = [record[f"{split}_{what}"] for record in history]
            axes.plot(epochs, values, style, markersize=4, label=split)
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_title(what)
        axes.grid(alpha=0.3)
        axes.legend()
    figure.suptitle(title)
    figures.write(figure, file)
