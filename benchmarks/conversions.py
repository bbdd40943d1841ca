"""Every library's network, converted and compared with its source.

    python -m benchmarks.conversions
    python -m benchmarks.conversions --only keras
    python -m benchmarks.conversions --part 2/6

The libraries' own functions write the files, with random weights and statistics like
those of trained networks: variances from 1e-3 to 10, kernels that produce such variances,
no weight or bias of 0 or 1. Each source runs next to our networks in all three
frameworks, at its own size and at an odd and an even one, in float64 and float32,
including its heads if it has any; timm only if it is installed. Finally, for comparison,
Keras' weights are copied into torchvision's network, as is often done. Rows go to
benchmarks/results/conversions.jsonl; an interrupted run resumes.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from inception_parity import libraries
from inception_parity.conversion.found import Claim
from inception_parity.conversion.identifying import identify
from inception_parity.conversion.verifying import Side, Size, verify
from inception_parity.networks import catalogue
from inception_parity.traces import weights

from .parts import add_part, part_of

RESULTS = Path(__file__).parent / "results" / "conversions.jsonl"
LIMITS = {"float64": 1e-10, "float32": 1e-5}  # of logits, relative to the largest
SQUARES: tuple[Size, ...] = ((299, 299), (97, 97), (128, 128))
SOURCES: dict[str, tuple[str, str, str, tuple[Size, ...]]] = {  # library, network, file, sizes
    "torchvision googlenet": ("torchvision", "ceil_googlenet", "googlenet.pth", SQUARES),
    "torchvision inception_v3": ("torchvision", "inception_v3", "v3.pth", SQUARES),
    "timm inception_v3": ("timm", "inception_v3", "timm.pth", SQUARES),
    "keras InceptionV3": ("keras", "inception_v3", "v3.weights.h5", SQUARES),
    "gluon inception_v3": (
        *("gluon", "inception_v3", "v3.params"),
        ((299, 299), (305, 305), (310, 310)),
    ),
}


def trained_like(library: str, network: str, seed: int = 7) -> dict[str, Any]:
    """Return shared arrays like those of a trained network, for a library's network."""
    rng = np.random.default_rng(seed)
    fixed = libraries.library(library).networks[network].fixed
    shapes = weights.shapes(network, catalogue.network(network).resolve(fixed))
    arrays: dict[str, Any] = {}
    for name, shape in shapes.items():
        last = name.rpartition(".")[2]
        if len(shape) > 1:
            fan_in = int(np.prod(shape[1:]))
            arrays[name] = rng.standard_normal(shape) * np.sqrt(2 / fan_in)
        elif last == "running_var":
            arrays[name] = 10.0 ** rng.uniform(-3, 1, shape)
        elif last == "weight":
            arrays[name] = rng.uniform(0.3, 1.7, shape)
        else:
            arrays[name] = rng.normal(0, 0.3, shape)
    for name in arrays:  # batch norm's statistics are those of the kernel's output
        if name.endswith("conv.weight"):
            norm = name.removesuffix("conv.weight") + "norm."
            deviation = np.sqrt(arrays[f"{norm}running_var"])
            arrays[name] = arrays[name] * deviation[:, None, None, None]
            arrays[f"{norm}running_mean"] = arrays[f"{norm}running_mean"] * deviation
    return {name: array.astype(np.float32) for name, array in arrays.items()}


def make(library: str, network: str, path: Path) -> None:
    """Write a file with the library's own network and functions."""
    arrays = trained_like(library, network)
    makers = {"torchvision": _torchvision, "timm": _timm, "keras": _keras, "gluon": _gluon}
    makers[library](network, arrays, path)


def _torchvision(network: str, arrays: dict[str, Any], path: Path) -> None:
    from inception_parity.backends.libraries.torchvision import models

    kind = models().googlenet if network == "ceil_googlenet" else models().inception_v3
    net = kind(weights=None, init_weights=False, aux_logits=True)
    _save_state(net, "torchvision", network, arrays, path)


def _timm(network: str, arrays: dict[str, Any], path: Path) -> None:
    from inception_parity.backends.libraries.torchvision import models

    models()  # timm imports torchvision, which needs a workaround in some builds
    import timm

    net = timm.create_model(network, pretrained=False, aux_logits=True)
    _save_state(net, "timm", network, arrays, path)


def _save_state(net: Any, library: str, network: str, arrays: dict[str, Any], path: Path) -> None:
    import torch

    names = libraries.library(library).names(network, arrays)
    state = {names[name]: torch.from_numpy(array) for name, array in arrays.items()}
    missing, unexpected = net.load_state_dict(state, strict=False)
    assert not unexpected
    assert all(name.endswith("num_batches_tracked") for name in missing)
    torch.save(net.state_dict(), path)


def _keras(network: str, arrays: dict[str, Any], path: Path) -> None:
    import keras

    net = keras.applications.InceptionV3(weights=None, classifier_activation=None)

    def made(kind: Any) -> list[Any]:
        found = [layer for layer in net.layers if isinstance(layer, kind)]
        return sorted(found, key=_number)

    convs, norms = made(keras.layers.Conv2D), made(keras.layers.BatchNormalization)
    blocks = [n.removesuffix("conv.weight") for n in arrays if n.endswith("conv.weight")]
    for block, conv, norm in zip(blocks, convs, norms, strict=True):
        conv.set_weights([arrays[f"{block}conv.weight"].transpose(2, 3, 1, 0)])
        statistics = ("bias", "running_mean", "running_var")
        norm.set_weights([arrays[f"{block}norm.{name}"] for name in statistics])
    net.get_layer("predictions").set_weights([arrays["fc.weight"].T, arrays["fc.bias"]])
    net.save_weights(path)


def _number(layer: Any) -> int:
    """Return the number in a layer's name; the first of each kind has none."""
    last = layer.name.rpartition("_")[2]
    return int(last) if last.isdigit() else 0


def _gluon(network: str, arrays: dict[str, Any], path: Path) -> None:
    from inception_mx._mxnet import mxnet

    mxnet.npx.reset_np()
    net = mxnet.gluon.model_zoo.vision.inception_v3()
    net.initialize()
    net(mxnet.nd.zeros((1, 3, 299, 299)))  # its shapes are deferred until the first input
    parameters = net._collect_params_with_prefix()
    for name, theirs in libraries.library("gluon").names(network, arrays).items():
        parameters[theirs].set_data(mxnet.nd.array(arrays[name]))
    net.save_parameters(str(path))


def rows_of(title: str, folder: Path) -> list[dict[str, Any]]:
    """Make a source network and compare ours with it."""
    library, network, file, sizes = SOURCES[title]
    path = folder / file
    made(library, network, path)
    found = identify(path, Claim(library))
    arrays = found.arrays()
    source = side(library, found.options, arrays, path)
    targets = [Side(backend, found.options, arrays) for backend in catalogue.default_backends()]
    done = verify(network, source, targets, sizes)
    if done.broken or done.reason:
        raise SystemExit(f"{title}: {done.broken or done.reason}")
    return [{"source": title, **vars(row)} for row in done.rows]


def naive(folder: Path) -> list[dict[str, Any]]:
    """Copy Keras' weights into torchvision's network, whose pools count their padding."""
    path, copied = folder / "v3.weights.h5", folder / "copied.pth"
    made("keras", "inception_v3", path)
    found = identify(path, Claim("keras"))
    arrays = found.arrays()
    info = libraries.library("torchvision")
    options, theirs = libraries.fit(info, found.network, found.options, arrays)
    options["count_include_pad"] = True
    names = libraries.library("torchvision").names(found.network, theirs)
    from inception_parity.formats import torch as torch_files

    torch_files.write(copied, {names[name]: array for name, array in theirs.items()})
    source = side("keras", found.options, arrays, path)
    done = verify(found.network, source, [side("torchvision", options, theirs, copied)], SQUARES)
    return [{"source": "naive", **vars(row)} for row in done.rows]


def side(library: str, options: dict[str, Any], arrays: dict[str, Any], path: Path) -> Side:
    """Return a library's own network with a file."""
    backend = libraries.library(library).backend
    return Side(backend, options, arrays, library, path)


def there(title: str) -> bool:
    """Return whether a library is installed; timm is optional."""
    library = SOURCES[title][0] if title in SOURCES else ""
    return library != "timm" or importlib.util.find_spec("timm") is not None


def made(library: str, network: str, path: Path) -> None:
    """Make a file in a separate process, which takes its framework with it."""
    if not path.exists():
        words = ["--make", library, network, str(path)]
        subprocess.run([sys.executable, "-m", "benchmarks.conversions", *words], check=True)


def shown(rows: list[dict[str, Any]]) -> int:
    """Print the rows; return how many exceed the limit."""
    wrong = 0
    for row in rows:
        too_far = row["problem"] or row["logits"] > LIMITS[row["dtype"]]
        too_far = too_far or (row["dtype"] == "float64" and row["worst"] > LIMITS["float64"])
        wrong += bool(too_far) and row["source"] != "naive"
        print(
            f"{row['source']:26} {row['target']:12} {row['dtype']} {row['size'][0]:4} "
            f"{row['stages']:3} stages, worst {row['worst']:.1e}, logits {row['logits']:.1e} "
            f"{row['problem'] or ''}"
        )
    return wrong


def main() -> None:
    """Run the missing cases, keep their rows, print all; exit code 1 if a limit is exceeded."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="sources whose title has this word")
    add_part(parser)
    parser.add_argument("--make", nargs=3, help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.make:
        make(words.make[0], words.make[1], Path(words.make[2]))
        return
    kept = [json.loads(line) for line in RESULTS.open()] if RESULTS.exists() else []
    done = {row["source"] for row in kept}
    with tempfile.TemporaryDirectory() as folder:
        for title in part_of((*SOURCES, "naive"), words.part):
            if title in done or words.only not in title or not there(title):
                continue
            place = Path(folder)
            new = naive(place) if title == "naive" else rows_of(title, place)
            with RESULTS.open("a") as out:
                out.writelines(json.dumps(row) + "\n" for row in new)
            kept += new
    raise SystemExit(1 if shown(kept) else 0)


if __name__ == "__main__":
    main()
