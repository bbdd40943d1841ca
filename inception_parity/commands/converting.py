"""Other people's files of weights: what they are, and how they become ours or each other's."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import typer
from rich.text import Text

from .. import libraries
from ..conversion.converting import Wanted, convert
from ..conversion.found import Claim, Found
from ..conversion.identifying import identify
from ..conversion.verifying import Verification
from ..data.images import parse_size
from ..errors import InputError
from ..files import require_writable
from ..training.inputs import KEY
from . import err, out, plain_table, print_json, print_line, progress
from .arguments import parse_settings, words
from .option_groups import command


@dataclass(frozen=True)
class SourceOptions:
    """What is said about a file of weights, where its content leaves doubt."""

    library: str | None = None
    network: str | None = None
    settings: list[str] | None = None

    def claim(self) -> Claim:
        """Return what is said, for `identify`."""
        return Claim(self.library, self.network, parse_settings(self.settings))


@command("convert")
def convert_command(
    source: Path,
    target: Path,
    given: SourceOptions,
    to: str | None = None,
    backends: str | None = None,
    size: str | None = None,
    prove: bool = True,
    timeout: float = 600,
) -> None:
    """Convert weights between files of other libraries, shared weights and ONNX.

    The source's own network and the converted one both run, on a photograph and on
    noise. Exit code 1: they disagree; 3: one of them crashed or timed out. In both
    cases nothing is written.

    The target's suffix says what is written: `.safetensors` shared weights, `.onnx`, or what a
    framework writes of our network: `.pth` PyTorch's state dict; `.keras` Keras' whole model,
    `.weights.h5`, `.savedmodel` (a folder) and `.tflite`; `.params` Gluon's parameters. --to names
    another library, for a file of that library's own network.

    Example:

        inception-parity convert inception_v3.pth v3.safetensors
    """
    require_writable(target)
    if source.exists() and target.exists() and source.samefile(target):
        raise InputError(f"{target}: the source itself; give another name")
    with progress() as say:
        wanted = Wanted(
            source, target, to, given.claim(), None if backends is None else words(backends),
            None if size is None else parse_size(size), prove, timeout,
        )  # fmt: skip
        done = convert(wanted, say)
    show_found(done.found)
    _show_verification(done.verification)
    status = "verified" if done.verification and done.verification.agree else "unverified"
    takes = f"images of {done.size[0]}x{done.size[1]}, " if done.size else ""
    print_line(f"{target}: {wanted.form}, {takes}{len(done.weights.arrays)} arrays, {status}")


@command("inspect")
def inspect_command(file: Path, given: SourceOptions, as_json: bool = False) -> None:
    """Say what a file of weights is, what is wrong with it, and which libraries can load it.

    Example:

        inception-parity inspect inception_v3.pth
    """
    with progress() as say:
        found = identify(file, given.claim(), say)
    wrong = found.wrong()
    arrays = {} if wrong else {name: found.array(name) for name in found.names}
    fits = {
        info.name: libraries.obstacles(info, found.network, found.options, arrays)
        for info in libraries.all_libraries()
    }
    verification = _stated(found)
    if as_json:
        print_json({
            "file": str(file), "format": found.content.format, "library": found.library,
            "network": found.network, "options": found.options, "arrays": len(found.names),
            "wrong": wrong, "assumed": found.assumed, "notes": found.notes,
            "sha256": found.sha256, "loads": {name: not why for name, why in fits.items()},
            "differences": fits, "verification": verification,
        })  # fmt: skip
        raise typer.Exit(2 if wrong else 0)
    show_found(found)
    out.print(f"{len(found.names)} arrays, sha256 of the file {found.sha256}")
    if verification:
        out.print(f"verification: {verification}")
    table = plain_table("loaded by", "", "differs in")
    ours = Text("this network, with these options", style="green")
    table.add_row("inception_pt, _tf, _mx, _np", "yes" if not wrong else "no", ours)
    for info in libraries.all_libraries():
        version, why = info.networks.get(found.network), fits[info.name]
        differs = "; ".join([*why, *(version.notes if version else ())])
        table.add_row(info.title_of(found.network), "no" if why else "yes", Text(differs))
    out.print(table)
    if wrong:
        raise InputError(f"{file}: {len(wrong)} arrays are wrong:\n  " + "\n  ".join(wrong[:40]))


def show_found(found: Found) -> None:
    """Print what a file is, and all that was assumed."""
    out.print(Text(f"{found.path}: {found.title}", style="bold"), soft_wrap=True)
    options = " ".join(f"{name}={str(value).lower()}" for name, value in found.options.items())
    print_line(f"{found.network} {options}")
    for text in found.assumed:
        print_line(f"assumed: {text}", style="yellow")
    for text in found.notes:
        print_line(f"note: {text}")


def _show_verification(verification: Verification | None) -> None:
    if verification is None:
        return
    if verification.rows:
        table = plain_table(
            "compared with", "run", "images", right=("stages", "worst rel. L2", "logits")
        )
        for row in verification.rows:
            table.add_row(
                row.target, row.dtype, f"{row.size[0]}x{row.size[1]}", f"{row.stages}",
                f"{row.worst:.1e}", f"{row.logits:.1e}",
            )  # fmt: skip
        out.print(f"{verification.source}'s own network, and the converted one:")
        out.print(table)
    if verification.reason:
        err.print(f"unverified: {verification.reason}", style="yellow")


def _stated(found: Found) -> str:
    """Return what a file that was written here says about its verification."""
    history = found.content.metadata.get("history")
    if not history:
        exported = found.content.metadata.get("verified", "")  # by `export --verify`
        return f"verified, as the file says: {exported}" if exported else ""
    try:
        said = json.loads(history)
        if "verification" not in said and KEY in said:  # trained here, not converted
            return ""
        proof = said["verification"]
        if proof["status"] == "verified":
            return f"verified against {proof['against']}, as the file says"
        return f"unverified: {proof['reason']}"
    except (ValueError, KeyError, TypeError):
        return "not to be read"
