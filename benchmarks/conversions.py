"""Every library's network, converted and compared with its source.

    python -m benchmarks.conversions
    python -m benchmarks.conversions --only keras
    python -m benchmarks.conversions --part 2/6

The libraries' own functions write the files, with random weights and statistics like
those of trained networks: variances from 1e-3 to 10, kernels that produce such variances,
no weight or bias of 0 or 1. Each source runs next to our networks in all three
frameworks, at its own size and at an odd and an even one, in float64 and float32,
including its heads if it has any; what isn't installed is left out. Finally, for comparison,
Keras' weights are copied into torchvision's network, as is often done. Rows go to
benchmarks/results/conversions.jsonl; an interrupted run resumes.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import re
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
TWO: tuple[Size, ...] = ((299, 299), (97, 128))
EIGHT: tuple[Size, ...] = ((299, 299), (305, 305), (310, 310))  # whose last grid is 8x8
SOURCES: dict[str, tuple[str, str, str, tuple[Size, ...]]] = {  # library, network, file, sizes
    "torchvision googlenet": ("torchvision", "ceil_googlenet", "googlenet.pth", SQUARES),
    "torchvision inception_v3": ("torchvision", "inception_v3", "v3.pth", SQUARES),
    "timm inception_v3": ("timm", "inception_v3", "timm.pth", SQUARES),
    "keras InceptionV3": ("keras", "inception_v3", "v3.weights.h5", SQUARES),
    "gluon inception_v3": ("gluon", "inception_v3", "v3.params", EIGHT),
    "timm inception_v4": ("timm", "inception_v4", "timm_v4.pth", TWO),
    "timm inception_resnet_v2": ("timm", "inception_resnet_v2", "timm_r2.pth", TWO),
    "keras InceptionResNetV2": ("keras", "inception_resnet_v2", "r2.weights.h5", TWO),
    "pytorchcv inceptionv3": ("pytorchcv", "inception_v3", "cv_v3.pth", EIGHT[:2]),
    "pytorchcv inceptionv4": ("pytorchcv", "inception_v4", "cv_v4.pth", EIGHT[:2]),
    "pytorchcv inceptionresnetv1": ("pytorchcv", "inception_resnet_v1", "cv_r1.pth", EIGHT[:2]),
    "pytorchcv inceptionresnetv2": ("pytorchcv", "inception_resnet_v2", "cv_r2.pth", EIGHT[:2]),
    "pytorchcv bninception": (
        *("pytorchcv", "bn_inception", "cv_bn.pth"),
        ((224, 224), (225, 230)),
    ),
    "facenet-pytorch InceptionResnetV1": (
        *("facenet_pytorch", "inception_resnet_v1", "facenet.pth"),
        ((299, 299), (160, 160), (97, 128)),
    ),
    "pytorch-fid fid_inception_v3": ("pytorch_fid", "fid_inception", "fid.pth", TWO),
    "torch-fidelity FeatureExtractorInceptionV3": (
        *("torch_fidelity", "fid_inception", "fidelity.pth"),
        ((299, 299), (598, 299)),  # to which it resizes exactly
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
        norm = name.removesuffix("conv.weight") + "norm."
        if f"{norm}running_var" in arrays:
            deviation = np.sqrt(arrays[f"{norm}running_var"])
            arrays[name] = arrays[name] * deviation[:, None, None, None]
            arrays[f"{norm}running_mean"] = arrays[f"{norm}running_mean"] * deviation
    return {name: array.astype(np.float32) for name, array in arrays.items()}


def make(library: str, network: str, path: Path) -> None:
    """Write a file with the library's own network and functions."""
    arrays = trained_like(library, network)
    if library == "keras":
        _keras(network, arrays, path)
    elif library == "gluon":
        _gluon(network, arrays, path)
    else:
        _state_dict(library, network, arrays, path)


def _state_dict(library: str, network: str, arrays: dict[str, Any], path: Path) -> None:
    import torch

    net, info = _network(library, network), libraries.library(library)
    names = info.names(network, arrays)
    state = {
        names[name]: torch.from_numpy(info.from_shared(network, name, array))
        for name, array in arrays.items()
    }
    missing, unexpected = net.load_state_dict(state, strict=False)
    assert not unexpected
    assert all(name.endswith("num_batches_tracked") for name in missing)
    torch.save(net.state_dict(), path)


def _network(library: str, network: str) -> Any:
    """Return a library's network in PyTorch; pytorch-fid's is also torch-fidelity's."""
    from inception_parity.backends.libraries.torchvision import models

    kinds = models()  # the others import torchvision, which needs a workaround in some builds
    title = libraries.library(library).networks[network].title
    if library == "torchvision":
        return getattr(kinds, title)(weights=None, init_weights=False, aux_logits=True)
    if library == "timm":
        import timm

        heads = {"aux_logits": True} if network == "inception_v3" else {}
        return timm.create_model(title, pretrained=False, **heads)
    if library == "pytorchcv":
        from pytorchcv.model_provider import get_model

        return get_model(title)
    if library == "facenet_pytorch":
        from facenet_pytorch import InceptionResnetV1

        return InceptionResnetV1(classify=True, num_classes=1000)
    from pytorch_fid import inception

    net = inception._inception_v3(num_classes=1008, aux_logits=False, weights=None)
    net.Mixed_5b = inception.FIDInceptionA(192, pool_features=32)
    return net


def _keras(network: str, arrays: dict[str, Any], path: Path) -> None:
    import keras

    title = libraries.library("keras").networks[network].title
    net = getattr(keras.applications, title)(weights=None, classifier_activation=None)
    held = {layer.name: layer for layer in net.layers}
    nameless = {
        kind: iter(sorted((n for n in held if re.fullmatch(rf"{kind}(_\d+)?", n)), key=_number))
        for kind in ("conv2d", "batch_normalization")
    }
    for layer in dict.fromkeys(name.rpartition(".")[0] for name in arrays):
        name = libraries.library("keras").path(network, layer)
        if name not in held:
            name = next(nameless["conv2d" if layer.endswith("conv") else "batch_normalization"])
        values = [array for key, array in arrays.items() if key.rpartition(".")[0] == layer]
        axes = {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}
        held[name].set_weights([value.transpose(axes[value.ndim]) for value in values])
    net.save_weights(path)


def _number(name: str) -> int:
    """Return the number in a layer's name; the first of each kind has none."""
    last = name.rpartition("_")[2]
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
    """Return whether a library is installed."""
    if title not in SOURCES:
        return True
    library = SOURCES[title][0]
    return importlib.util.find_spec({"gluon": "mxnet"}.get(library, library)) is not None


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
