"""Matplotlib's figures: created if it is installed, written completely or not at all."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from .. import files
from ..errors import InputError, needs


def new(width: float, height: float) -> Any:
    """Return an empty figure, sides in inches.

    Raises:
        InputError: matplotlib isn't installed.
    """
    with needs("plots need matplotlib", "plot"):
        from matplotlib.figure import Figure
    return Figure(figsize=(width, height), layout="constrained")


def write(figure: Any, file: Path) -> None:
    """Write a figure in the format of the file's suffix, PNG without one.

    Raises:
        InputError: matplotlib has no such format, or the file can't be written.
    """
    content = io.BytesIO()
    try:
        figure.savefig(content, format=file.suffix.lstrip(".") or "png", dpi=110)
    except ValueError as error:
        raise InputError(f"{file}: can't be written ({error})") from error
    files.write_whole(file, content.getvalue())
