"""What there is: networks, their layers, sizes and weights."""

from __future__ import annotations

from pathlib import Path

from rich.text import Text

from ..backends import min_size
from ..data.images import parse_size
from ..errors import InputError
from ..files import require_writable
from ..networks import catalogue, sizes, summary
from ..networks.empty_batch import require_size
from ..plots.sizes import plot as plot_sizes
from ..traces import seeding, weights
from . import out, plain_table, print_json, print_line, progress
from .arguments import parse_backends, parse_settings
from .option_groups import command


@command("networks")
def networks_command(as_json: bool = False) -> None:
    """List the networks and their options.

    Example:

        inception-parity networks
    """
    if as_json:
        print_json([
            {
                "name": n.name, "class": n.class_name, "source": n.source,
                "options": {o.name: {"default": o.default, "help": o.help} for o in n.options},
            }
            for n in catalogue.NETWORKS.values()
        ])  # fmt: skip
        return
    for n in catalogue.NETWORKS.values():
        out.print(Text(n.name, style="bold").append(f"  {n.class_name}, {n.source}", style="dim"))
        for option in n.options:
            default = str(option.default).lower()
            out.print(Text(f"    --set {option.name}={default}").append(f"  {option.help}", "dim"))


@command("summary")
def summary_command(
    network: str,
    size: str | None = None,
    batch: int = 1,
    settings: list[str] | None = None,
    as_json: bool = False,
) -> None:
    """Show every layer with its shape, parameters and multiply-adds.

    Example:

        inception-parity summary googlenet --size 96
    """
    net = catalogue.network(network)
    options = net.resolve(parse_settings(settings))
    if batch < 1:
        raise InputError(f"batch {batch}, but should be 1 or more")
    height_width = net.size if size is None else parse_size(size)
    require_size(net, options, height_width)
    layers = summary.layers(network, options, height_width, batch)
    leaves = [layer for layer in layers if layer.leaf]
    totals = {
        "parameters": sum(layer.parameters for layer in leaves),
        "multiply_adds": sum(layer.multiply_adds for layer in leaves),
    }
    if as_json:
        found = {"network": network, "options": options, **totals}
        print_json({**found, "layers": [vars(layer) for layer in layers]})
        return
    table = plain_table("layer", "what", "output", right=("parameters", "multiply-adds"))
    for layer in layers:
        style = "" if layer.leaf else "bold"
        table.add_row(
            Text(layer.name, style=style), layer.kind, " x ".join(map(str, layer.shape)),
            f"{layer.parameters:,}" if layer.parameters else "",
            f"{layer.multiply_adds:,}" if layer.multiply_adds else "",
        )  # fmt: skip
    out.print(table)
    parameters, multiply_adds = totals.values()
    out.print(f"{parameters:,} parameters, {multiply_adds:,} multiply-adds", style="bold")


@command("weights")
def weights_command(
    network: str, file: Path, seed: int = 0, settings: list[str] | None = None
) -> None:
    """Write seeded shared weights: the same values on every machine.

    Example:

        inception-parity weights googlenet --seed 1 --out seeded.safetensors
    """
    net = catalogue.network(network)
    require_writable(file)
    seeded = seeding.seeded(network, net.resolve(parse_settings(settings)), seed)
    weights.write(file, seeded)
    print_line(f"{file}: {len(seeded.arrays)} arrays, sha256 {seeded.sha256}")


@command("sizes")
def sizes_command(
    in_channels: int = 1,
    num_classes: int = 10,
    size: str = "224",
    plot: Path | None = None,
    as_json: bool = False,
) -> None:
    """Compare the sizes of the family with AlexNet, VGG-11 and NiN, as d2l's exercise asks.

    Parameters, multiply-adds and what the layers leave in memory, for one image.

    Example:

        inception-parity sizes --size 96 --plot sizes.png
    """
    if min(in_channels, num_classes) < 1:
        raise InputError("--in-channels and --num-classes should be 1 or more")
    if plot is not None:
        require_writable(plot)
    rows = sizes.rows(in_channels, num_classes, parse_size(size))
    if plot is not None:
        plot_sizes(rows, plot)
    if as_json:
        print_json([vars(row) | {"activation_bytes": row.activation_bytes} for row in rows])
        return
    right = ("parameters", "in dense layers", "in heads", "multiply-adds", "activations, MiB")
    table = plain_table("network", right=right)
    for row in rows:
        table.add_row(
            row.title, f"{row.parameters:,}", f"{row.dense / row.parameters:.0%}",
            f"{row.heads:,}" if row.heads else "–", f"{row.multiply_adds:,}",
            f"{row.activation_bytes / 2**20:.1f}",
        )  # fmt: skip
    out.print(table)
    if plot is not None:
        print_line(f"plot: {plot}")


@command("min-size")
def min_size_command(
    network: list[str] | None = None,
    backends: str = "np,pt",
    settings: list[str] | None = None,
    as_json: bool = False,
) -> None:
    """Find the smallest square image that a network takes, by trying it.

    It is tried in inference and in training, where the heads run and a framework's batch
    norm may need more than one value per channel. The oracle can't be trained; only its
    heads run.

    Example:

        inception-parity min-size inception_v3 --backends pt
    """
    chosen, options = parse_backends(backends), parse_settings(settings)
    for name in network or ():
        catalogue.network(name).resolve(options)
    with progress() as say:
        say("trying sizes")
        rows = min_size.rows(network, chosen, options)
    if as_json:
        print_json([vars(row) for row in rows])
        return
    right = ("inference", "training, 1 image", "training, 2 images")
    table = plain_table("network", "backend", right=right)
    for first in range(0, len(rows), 3):
        row = rows[first]
        found = [str(r.size) for r in rows[first : first + 3]]
        table.add_row(row.network, catalogue.BACKENDS[row.backend].title, *found)
    out.print(table)
