"""timm's `inception_v3`, a copy of torchvision's without its `transform_input`.

Its state dict has the very names of torchvision's, so that a file doesn't tell which of
the two it is from; with `transform_input=False` both compute the same.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..formats import Content
from . import Implementation, Library, torchvision

LIBRARY = Library(
    name="timm",
    title="timm",
    distribution="timm",
    backend="pt",
    formats=("torch", "safetensors", "onnx"),
    suffixes=(".pth", ".pt", ".safetensors"),
    networks={
        "inception_v3": Implementation(
            "inception_v3",
            {
                "transform_input": False,
                "count_include_pad": True,
                "bn_scale": True,
                "bn_eps": 1e-3,
            },
            ("in_channels", "use_aux"),
        ),
    },
)


def path(network: str, ours: str) -> str:
    """Return torchvision's path, but for the two pools of the stem."""
    return {"maxpool1": "Pool1", "maxpool2": "Pool2"}.get(ours) or torchvision.path(network, ours)


def names(network: str, shared: Iterable[str], content: Content | None) -> dict[str, str]:
    """Return the keys of a state dict."""
    return torchvision.names(network, shared, content)
