"""The networks, their options and sizes, and the backends that run them."""

from __future__ import annotations

import contextlib
import importlib.util
import math
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import InputError, nearest

# Channels or classes. ImageNet-21k has 21,841 classes; a mistyped number is refused here,
# and not by a machine that has run out of memory.
MOST = 100_000

FEATURES = "features"  # what a network without a classifier returns


@dataclass(frozen=True)
class Option:
    """One constructor argument of a network, the same in every package."""

    name: str
    default: int | bool | float
    help: str
    least: int = 1  # of a whole number

    def parse(self, value: Any, network: str) -> int | bool | float:
        """Turn `value`, a word of the command line or already typed, into the option's type."""
        kind = type(self.default)
        words = {"true": True, "false": False, "1": True, "0": False}
        if kind is bool and isinstance(value, str) and value.lower() in words:
            return words[value.lower()]
        if isinstance(value, str) and kind is not bool:
            with contextlib.suppress(ValueError):
                value = kind(value)
        if (
            type(value) is not kind
            or (kind is int and not self.least <= value <= MOST)
            or not math.isfinite(value)
        ):
            whole = f"a positive whole number, at most {MOST:,}"
            if not self.least:
                whole += ", or 0 for no classifier"
            expected = {int: whole, bool: "true or false", float: "a number"}
            raise InputError(
                f"{self.name}={value!r}, but should be {expected[kind]} [option of {network}]"
            )
        return value


@dataclass(frozen=True)
class Network:
    """A network of the family, as every package builds it."""

    name: str
    class_name: str
    source: str
    options: tuple[Option, ...]
    outputs: tuple[str, ...] = ("logits",)  # in the order in which a network returns them
    size: tuple[int, int] = (224, 224)  # (height, width), as in the source
    variants: tuple[dict[str, int | bool | float], ...] = ({},)  # that `check --all` runs
    aux_weight: float = 0.3  # of each head's loss: Szegedy et al. 2014, section 5

    def resolve(self, settings: Mapping[str, Any]) -> dict[str, int | bool | float]:
        """Return the value of every option: that of `settings`, or else the default.

        Without a classifier there are no auxiliary heads either, unless they are asked for.

        Raises:
            InputError: the network has no such option, a value is of another type, or heads
                are asked for without a classifier.
        """
        known = {option.name: option for option in self.options}
        for name in settings:
            if name not in known:
                raise InputError(
                    f"{self.name} has no option {name!r}{nearest(name, known)}; "
                    f"it has {', '.join(known)}"
                )
        found = {
            name: option.parse(settings[name], self.name) if name in settings else option.default
            for name, option in known.items()
        }
        if not found["num_classes"] and "use_aux" in found:
            if "use_aux" in settings and found["use_aux"]:
                raise InputError(
                    f"use_aux=True, but should be false with num_classes=0 [options of {self.name}]"
                )
            found["use_aux"] = False
        return found

    def outputs_with(self, options: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the names of what the network returns with these options, in its order."""
        return self.outputs if options.get("num_classes", 1) else (FEATURES,)

    def build(self, package: str, options: Mapping[str, Any]) -> Any:
        """Return the network of `package` (`inception_pt`, …) with `options`."""
        return getattr(importlib.import_module(package), self.class_name)(**options)


@dataclass(frozen=True)
class BackendInfo:
    """A framework that can run the networks."""

    name: str
    title: str
    package: str  # with its networks; empty where a file is the network
    framework: str  # the module to import
    extra: str  # of this distribution, that installs it


_LOGITS = "length of the logits; 0 for no classifier"
_IMAGES = (
    Option("in_channels", 3, "channels of the images: 1 (grey) or 3 (RGB)"),
    Option("num_classes", 1000, _LOGITS, 0),
)
_USE_AUX = Option("use_aux", True, "auxiliary heads")
_TRANSFORM = Option("transform_input", False, "from torchvision's normalisation to -1 … 1")
_RETURN_AUX = Option("return_aux", False, "run the heads in inference too, and compare them")
_COUNT_PAD = Option("count_include_pad", False, "average pools count their padding")
_BN_SCALE = Option("bn_scale", True, "batch norm has a weight; TF-slim's has not")
_BN_EPS = Option("bn_eps", 1e-3, "added to the variance")
_SCALES = (
    Option("block35_scale", 0.17, "factor of residuals on the 35 x 35 grid"),
    Option("block17_scale", 0.1, "factor of residuals on the 17 x 17 grid"),
    Option("block8_scale", 0.2, "factor of residuals on the 8 x 8 grid, but for the last"),
    Option("last_scale", 1.0, "factor of the last residual"),
    Option("last_activation", False, "ReLU after the last residual"),
)
# One factor for all blocks, each with a ReLU: how the paper draws them.
_PAPER_SCALES = {
    "block35_scale": 0.3,
    "block17_scale": 0.3,
    "block8_scale": 0.3,
    "last_scale": 0.3,
    "last_activation": True,
}

NETWORKS = {
    network.name: network
    for network in (
        Network(
            "googlenet",
            "GoogLeNet",
            "d2l, section 8.4",
            (
                Option("in_channels", 1, "channels of the images: 1 (grey) or 3 (RGB)"),
                Option("num_classes", 10, _LOGITS, 0),
                Option("batch_norm", False, "batch norm after every convolution"),
            ),
            variants=({}, {"in_channels": 3, "num_classes": 1000, "batch_norm": True}),
        ),
        Network(
            "inception_v1",
            "InceptionV1",
            "Szegedy et al. 2014, table 1, with batch norm",
            (
                *_IMAGES,
                _USE_AUX,
                Option("lrn", False, "as of 2014: response normalisation, no batch norm"),
                _RETURN_AUX,
            ),
            ("logits", "aux2_logits", "aux1_logits"),
            variants=({"return_aux": True}, {"use_aux": False}, {"lrn": True, "return_aux": True}),
        ),
        Network(
            "ceil_googlenet",
            "CeilGoogLeNet",
            "Szegedy et al. 2014, as torchvision's googlenet",
            (
                *_IMAGES,
                _USE_AUX,
                _TRANSFORM,
                Option("third_kernel", 5, "kernel of the third branch; torchvision has 3"),
                Option("pool4_kernel", 3, "window of the last pool; torchvision has 2"),
                Option("bn_eps", 1e-5, "added to the variance; torchvision has 1e-3"),
                _RETURN_AUX,
            ),
            ("logits", "aux2_logits", "aux1_logits"),
            variants=(
                {"return_aux": True},
                {
                    "third_kernel": 3,
                    "pool4_kernel": 2,
                    "bn_eps": 1e-3,
                    "transform_input": True,
                    "return_aux": True,
                },
                {"use_aux": False},
            ),
        ),
        Network(
            "bn_inception",
            "BNInception",
            "Ioffe and Szegedy 2015, figure 5",
            (
                *_IMAGES,
                Option("pool_features", 128, "pool projections of 4c and 4d; TF-slim has 96"),
                Option("padded_pool", False, "pools of 3c and 4e padded (MXNet), not in ceil mode"),
                Option("count_include_pad", True, "average pools count padding; TF-slim's don't"),
                Option("bias", True, "convolutions have a bias; TF-slim's haven't"),
                Option("bn_eps", 1e-5, "added to the variance; TF-slim has 1e-3"),
            ),
            variants=(
                {},
                {
                    "pool_features": 96,
                    "padded_pool": True,
                    "count_include_pad": False,
                    "bias": False,
                    "bn_eps": 1e-3,
                },
            ),
        ),
        Network(
            "inception_v2",
            "InceptionV2",
            "Szegedy et al. 2015, table 1",
            (
                _IMAGES[0],
                Option("num_classes", 10, _LOGITS, 0),
                _USE_AUX,
                _RETURN_AUX,
            ),
            ("logits", "aux_logits"),
            (299, 299),
            ({"return_aux": True}, {"use_aux": False}),
        ),
        Network(
            "inception_v3",
            "InceptionV3",
            "Szegedy et al. 2015, as TF-slim and torchvision",
            (
                *_IMAGES,
                _USE_AUX,
                _TRANSFORM,
                Option("count_include_pad", False, "average pools count padding (torchvision)"),
                Option("bn_scale", True, "batch norm has a weight; Keras' has not"),
                Option("bn_eps", 1e-3, "added to the variance"),
                _RETURN_AUX,
            ),
            ("logits", "aux_logits"),
            (299, 299),
            (
                {"return_aux": True},
                {"count_include_pad": True, "transform_input": True, "return_aux": True},
                {"bn_scale": False, "use_aux": False},
            ),
            aux_weight=0.4,  # TF-slim's
        ),
        Network(
            "fid_inception",
            "FIDInception",
            "Heusel et al. 2017, TensorFlow's inception-2015-12-05",
            (
                _IMAGES[0],
                Option("num_classes", 1008, _LOGITS, 0),
                Option("resize", True, "images are resized to 299x299"),
                Option("half_pixel_centres", False, "resized as pytorch-fid does"),
            ),
            size=(299, 299),
            variants=({"resize": False}, {"half_pixel_centres": True}),
        ),
        Network(
            "inception_v4",
            "InceptionV4",
            "Szegedy et al. 2016, as TF-slim",
            (*_IMAGES, _USE_AUX, _COUNT_PAD, _BN_SCALE, _BN_EPS, _RETURN_AUX),
            ("logits", "aux_logits"),
            (299, 299),
            (
                {"return_aux": True},
                {"count_include_pad": True, "bn_scale": False, "bn_eps": 1e-5, "use_aux": False},
            ),
            aux_weight=0.4,  # TF-slim's
        ),
        Network(
            "inception_resnet_v1",
            "InceptionResNetV1",
            "Szegedy et al. 2016, as facenet",
            (
                *_IMAGES,
                *_SCALES,
                Option("bottleneck", False, "512 features before the classifier (facenet)"),
                _BN_SCALE,
                _BN_EPS,
            ),
            size=(299, 299),
            variants=({}, {**_PAPER_SCALES, "bottleneck": True, "bn_scale": False, "bn_eps": 1e-5}),
        ),
        Network(
            "inception_resnet_v2",
            "InceptionResNetV2",
            "Szegedy et al. 2016, as TF-slim",
            (*_IMAGES, _USE_AUX, *_SCALES, _COUNT_PAD, _BN_SCALE, _BN_EPS, _RETURN_AUX),
            ("logits", "aux_logits"),
            (299, 299),
            (
                {"return_aux": True},
                {
                    **_PAPER_SCALES,
                    "count_include_pad": True,
                    "bn_scale": False,
                    "bn_eps": 1e-5,
                    "use_aux": False,
                },
            ),
            aux_weight=0.4,  # TF-slim's
        ),
    )
}

ORACLE = "np"

BACKENDS = {
    backend.name: backend
    for backend in (
        BackendInfo("np", "NumPy oracle", "inception_np", "numpy", ""),
        BackendInfo("pt", "PyTorch", "inception_pt", "torch", "torch"),
        BackendInfo("tf", "Keras/TF", "inception_tf", "tensorflow", "tensorflow"),
        BackendInfo("mx", "MXNet", "inception_mx", "mxnet", "mxnet"),
        BackendInfo("onnx", "ONNX", "", "onnxruntime", "onnx"),
    )
}

PACKAGES = tuple(backend.package for backend in BACKENDS.values() if backend.package)

DTYPES = ("float64", "float32", "bfloat16", "float16")


def mxnet_has_wheel() -> bool:
    """Return whether MXNet has a wheel for this platform and Python."""
    linux = sys.platform == "linux" and platform.machine() == "x86_64"
    return linux and sys.version_info < (3, 12)


def default_backends() -> tuple[str, ...]:
    """Return all backends but the oracle, without MXNet where it has no wheel."""
    return ("pt", "tf", "mx") if mxnet_has_wheel() else ("pt", "tf")


def installed_backends() -> list[str]:
    """Return those of the default backends whose framework is there; none is imported."""
    return [b for b in default_backends() if importlib.util.find_spec(BACKENDS[b].framework)]


def network(name: str) -> Network:
    """Return the network called `name`; InputError names the nearest if there is none."""
    if name not in NETWORKS:
        raise InputError(
            f"no network {name!r}{nearest(name, NETWORKS)}; there are: {', '.join(NETWORKS)}"
        )
    return NETWORKS[name]


def backend(name: str) -> BackendInfo:
    """Return the backend called `name`; InputError names the nearest if there is none."""
    if name not in BACKENDS:
        aliases = {"torch": "pt", "pytorch": "pt", "keras": "tf", "tensorflow": "tf",
                   "mxnet": "mx", "numpy": "np"}  # fmt: skip
        hint = f" (did you mean {aliases[name]}?)" if name in aliases else nearest(name, BACKENDS)
        raise InputError(f"no backend {name!r}{hint}; there are: {', '.join(BACKENDS)}")
    return BACKENDS[name]


def backend_of(net: Any) -> BackendInfo:
    """Return the backend whose package the class of `net` comes from."""
    package = type(net).__module__.partition(".")[0]
    for info in BACKENDS.values():
        if package and info.package == package:
            return info
    raise InputError(f"{type(net).__name__} comes from {package!r}, not from one of our packages")
