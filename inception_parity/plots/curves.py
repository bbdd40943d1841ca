"""Learning curves, as a picture."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .. import files
from ..networks import catalogue
from ..training.recipe import Recipe


def draw(file: Path, recipe: Recipe, history: Sequence[dict[str, Any]]) -> None:
    """Draw loss and accuracy over the epochs; without matplotlib, draw nothing.

    Args:
        file: the PNG to write.
        recipe: what was trained, for the title.
        history: a record per epoch, as in the metrics.

    Raises:
        InputError: the file can't be written.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return
    epochs = [record["epoch"] for record in history]
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    for axes, what in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for split, style in (("train", "o-"), ("test", "s--")):
            values = [record[f"{split}_{what}"] for record in history]
            axes.plot(epochs, values, style, markersize=4, label=split)
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_title(what)
        axes.grid(alpha=0.3)
        axes.legend()
    figure.suptitle(
        f"{recipe.network} in {catalogue.BACKENDS[recipe.backend].title}, {recipe.data}, "
        f"{recipe.height}x{recipe.width}, batch {recipe.batch}, {recipe.optimizer} lr {recipe.lr:g}"
    )
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=110)
    files.write_whole(file, content.getvalue())
