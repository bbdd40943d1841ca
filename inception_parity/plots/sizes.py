"""How large networks are, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..networks.sizes import NetworkSize
from . import figures


def plot(rows: Sequence[NetworkSize], file: Path) -> None:
    """Draw three bars for each network into `file`, whose suffix decides the format.

    Raises:
        InputError: matplotlib isn't installed, or the file can't be written.
    """
    figure = figures.new(11.0, 1.2 + 0.4 * len(rows))
    titles = [row.title for row in rows]
    parameters, work, memory = figure.subplots(1, 3, sharey=True)
    convolutional = [(row.parameters - row.dense) / 1e6 for row in rows]
    dense = [row.dense / 1e6 for row in rows]
    heads = [row.heads / 1e6 for row in rows]
    parameters.barh(titles, convolutional, label="convolutions")
    parameters.barh(titles, dense, left=convolutional, label="fully connected")
    without_heads = [row.parameters / 1e6 for row in rows]
    parameters.barh(titles, heads, left=without_heads, label="auxiliary heads", alpha=0.4)
    largest = max((row.parameters + row.heads for row in rows), default=1)
    parameters.set_xlim(0.0, 1.05 * largest / 1e6)
    parameters.set_xlabel("parameters, millions")
    parameters.legend()
    parameters.invert_yaxis()  # the first row at the top
    work.barh(titles, [row.multiply_adds / 1e9 for row in rows])
    work.set_xlabel("multiply-adds per image, billions")
    memory.barh(titles, [row.activation_bytes / 2**20 for row in rows])
    memory.set_xlabel("activations per image in float32, MiB")
    sizes = sorted({"x".join(map(str, row.shape)) for row in rows})
    figure.suptitle(f"Input {', '.join(sizes)}")
    figures.write(figure, file)
