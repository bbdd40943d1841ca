"""torchvision's `googlenet` and `inception_v3`.

A state dict doesn't tell `transform_input`. The constructors' default is False, but
trained weights are made for True: they are recognised by the hash that torchvision has
in their names, and checks.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..formats import Content
from . import Implementation, Library

# sha256 of the published files, as far as their names have it -> the network
TRAINED = {
    "1378be20": "ceil_googlenet",
    "0cc3c7bd": "inception_v3",
    "1a9a5a14": "inception_v3",
}

_FREE = ("use_aux", "transform_input")
LIBRARY = Library(
    name="torchvision",
    title="torchvision",
    distribution="torchvision",
    backend="pt",
    formats=("torch", "safetensors", "onnx"),
    suffixes=(".pth", ".pt", ".safetensors"),
    networks={
        "ceil_googlenet": Implementation(
            "googlenet",
            {"in_channels": 3, "third_kernel": 3, "pool4_kernel": 2, "bn_eps": 1e-3},
            _FREE,
            ("transform_input",),
            sizes=((224, 224), (97, 128)),
            notes=("in training it has dropout 0.2 before the classifier, ours has none",),
        ),
        "inception_v3": Implementation(
            "inception_v3",
            {"in_channels": 3, "count_include_pad": True, "bn_scale": True, "bn_eps": 1e-3},
            _FREE,
            ("transform_input",),
        ),
    },
)

GOOGLENET = {  # torchvision's name -> ours
    "conv1": "sec0.0",
    "maxpool1": "sec0.1",
    "conv2": "sec0.2",
    "conv3": "sec0.3",
    "maxpool2": "sec0.4",
    "inception3a": "sec1.0",
    "inception3b": "sec1.1",
    "maxpool3": "sec1.2",
    "inception4a": "sec1.3",
    "inception4b": "sec2.0",
    "inception4c": "sec2.1",
    "inception4d": "sec2.2",
    "inception4e": "sec3.0",
    "maxpool4": "sec3.1",
    "inception5a": "sec3.2",
    "inception5b": "sec3.3",
    "aux1": "h0",
    "aux2": "h1",
    "fc": "h2",
}
_BLOCKS = {ours: theirs for theirs, ours in GOOGLENET.items()}
_INSIDE = {".conv.1": ".conv", ".fc.0": ".fc1", ".fc.3": ".fc2", ".b1.0": ".branch1"} | {
    f".b{number}.": f".branch{number}." for number in (2, 3, 4)
}


def path(network: str, ours: str) -> str:
    """`sec1.0.b1.0.norm` -> `inception3a.branch1.bn`; inside v3 only `norm` has another name."""
    ours = f"{ours}.".replace(".norm.", ".bn.").removesuffix(".")
    if network == "ceil_googlenet":
        block = next((b for b in _BLOCKS if ours == b or ours.startswith(f"{b}.")), "")
        inside = ours.removeprefix(block)
        for old, new in _INSIDE.items():
            inside = inside.replace(old, new)
        return _BLOCKS.get(block, block) + inside
    return ours


def names(network: str, shared: Iterable[str], content: Content | None) -> dict[str, str]:
    """Return the keys of a state dict, which are paths."""
    return {name: path(network, name) for name in shared}
