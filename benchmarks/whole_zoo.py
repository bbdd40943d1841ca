"""Whole networks that aren't ours, in pairs: an original and a port with the same weights.

torchvision's networks and Keras' of the same name aren't the same network: eps, the padding of
convolutions at stride 2 and ResNet's strides differ. A pair is tried as it comes, where the
difference has to be explained, and with Keras' settings in torchvision's network, where it has to
pass.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

SIZE = 64


@dataclass(frozen=True)
class Whole:
    """A pair.

    Args:
        name: what it is.
        first: makes the original.
        second: makes the port; a folder to write files into is given.
        inputs: what both are fed.
        copy: whether the port is given the original's weights; otherwise it has them.
        causes: what may be named first where the two are different networks; none if they are the
            same, which has to pass.
    """

    name: str
    first: Callable[[], Any]
    second: Callable[[Any, Path], Any]
    inputs: Callable[[], Any]
    copy: bool = False
    causes: tuple[str, ...] = ()


def pairs() -> list[Whole]:
    """Return all pairs, in the order of the table."""
    return [*_zoos(), *_encoders(), *_exports()]


# torchvision and Keras


@dataclass(frozen=True)
class _Zoo:
    """A network of both: its names, and what of torchvision's has to be set as in Keras' one."""

    torch: str
    keras: str
    eps: float | None
    causes: tuple[str, ...]
    same: bool = False
    options: tuple[tuple[str, Any], ...] = ()


_ZOO = (
    _Zoo("resnet50", "ResNet50", 1.001e-5, ("eps",)),
    _Zoo("mobilenet_v2", "MobileNetV2", 1e-3, ("padding",), same=True),
    _Zoo("mobilenet_v3_small", "MobileNetV3Small", 1e-3, ("padding",), same=True,
         options=(("include_preprocessing", False),)),
    _Zoo("mobilenet_v3_large", "MobileNetV3Large", 1e-3, ("padding",), same=True,
         options=(("include_preprocessing", False),)),
    _Zoo("densenet121", "DenseNet121", 1.001e-5, ("eps",)),
    _Zoo("efficientnet_b0", "EfficientNetB0", 1e-3, ("padding",), same=True),
    _Zoo("vgg16", "VGG16", None, ()),
)  # fmt: skip


def _zoos() -> list[Whole]:
    found = []
    for zoo in _ZOO:

        def keras_net(_: Any, __: Path, zoo: _Zoo = zoo) -> Any:
            return _keras_net(zoo)

        if zoo.causes:
            found.append(
                Whole(
                    f"{zoo.torch}, as they come",
                    lambda zoo=zoo: _torchvision_net(zoo, False),
                    keras_net,
                    _images,
                    True,
                    zoo.causes,
                )
            )
        found.append(
            Whole(zoo.torch, lambda zoo=zoo: _torchvision_net(zoo, True), keras_net, _images, True)
        )
    return found  # fmt: skip


def _images() -> Any:
    return np.random.default_rng(0).standard_normal((2, 3, SIZE, SIZE))


def _keras_net(zoo: _Zoo) -> Any:
    import keras

    make = getattr(keras.applications, zoo.keras)
    return make(
        weights=None, classifier_activation=None, input_shape=(SIZE, SIZE, 3), **dict(zoo.options)
    )


def _torchvision_net(zoo: _Zoo, like_keras: bool) -> Any:
    import torch
    from torch import nn

    from inception_parity.backends.libraries.torchvision import MODELS

    torch.manual_seed(0)
    net = getattr(MODELS, zoo.torch)(weights=None)
    if zoo.torch == "vgg16":  # of Keras' size: without torchvision's pool, for smaller images
        net.avgpool, net.classifier[0] = nn.Identity(), nn.Linear(512 * (SIZE // 32) ** 2, 4096)
    randomise(net)
    if like_keras:
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d) and zoo.eps is not None:
                module.eps = zoo.eps
        if zoo.torch == "resnet50":
            for stage in (net.layer2, net.layer3, net.layer4):
                stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)
        if zoo.same:
            _pad_as_keras(net)
    if zoo.torch == "efficientnet_b0":
        net.features[0] = nn.Sequential(_Scaled(), *net.features[0])
    return net.eval()


def _scaled() -> Any:
    from torch import nn

    class Scaled(nn.Module):
        def forward(self, x: Any) -> Any:
            return x / 255

    return Scaled()


_Scaled = _scaled


def randomise(net: Any) -> None:
    """Randomise batch norms: with means of 0 and variances of 1, a wrong one might pass."""
    import torch
    from torch import nn

    generator = torch.Generator().manual_seed(0)
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
            if module.affine:
                nn.init.uniform_(module.weight, 0.5, 1.5, generator=generator)
                nn.init.normal_(module.bias, 0, 0.1, generator=generator)


def _pad_as_keras(net: Any) -> None:
    """Pad convolutions at stride 2 as Keras does for images with even sides: one less before."""
    from torch import nn

    for parent in list(net.modules()):
        for name, conv in list(parent.named_children()):
            if isinstance(conv, nn.Conv2d) and conv.stride == (2, 2):
                before, after = (conv.kernel_size[0] - 2) // 2, conv.kernel_size[0] // 2
                conv.padding = (0, 0)
                pad = nn.ZeroPad2d((before, after, before, after))
                setattr(parent, name, nn.Sequential(pad, conv))


# Encoders


def _encoders() -> list[Whole]:
    return [
        Whole("BERT of transformers, Keras' layers", _bert, lambda *_: _keras_bert(), _tokens, True)
    ]


WIDE, HEADS, DEPTH, WORDS, LONGEST = 64, 4, 4, 120, 32


def _tokens() -> Any:
    rng = np.random.default_rng(0)
    return {"input_ids": rng.integers(0, WORDS, (2, 16))}


def _bert() -> Any:
    import torch

    from inception_parity.backends.libraries import torchvision  # before transformers imports it

    assert torchvision
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=WORDS, hidden_size=WIDE, num_hidden_layers=DEPTH, num_attention_heads=HEADS,
        intermediate_size=4 * WIDE, max_position_embeddings=LONGEST,
    )  # fmt: skip
    net = BertModel(config, add_pooling_layer=True)
    for parameter in net.parameters():  # also of biases, which begin at 0
        torch.nn.init.normal_(parameter, 0.0, 0.1)
    return net.eval()


def _keras_bert() -> Any:
    """Return BERT in Keras' own layers: after each of a block's two parts, a sum and a norm."""
    import keras
    from keras import layers, ops

    def norm(name: str) -> Any:
        return layers.LayerNormalization(epsilon=1e-12, name=name)

    ids = keras.Input((16,), dtype="int32", name="input_ids")
    words = layers.Embedding(WORDS, WIDE, name="words")(ids)
    places = layers.Embedding(LONGEST, WIDE, name="places")(ops.cumsum(ops.ones_like(ids), 1) - 1)
    kinds = layers.Embedding(2, WIDE, name="kinds")(ops.zeros_like(ids))
    x = norm("norm")(words + kinds + places)
    for i in range(DEPTH):
        attention = layers.MultiHeadAttention(HEADS, WIDE // HEADS, name=f"attention{i}")
        x = norm(f"norm{i}a")(x + attention(x, x))
        inner = layers.Dense(4 * WIDE, name=f"inner{i}")(x)
        inner = layers.Activation("gelu", name=f"gelu{i}")(inner)
        x = norm(f"norm{i}b")(x + layers.Dense(WIDE, name=f"outer{i}")(inner))
    pooled = layers.Dense(WIDE, activation="tanh", name="pooler")(x[:, 0])
    return keras.Model(ids, [x, pooled])


# PyTorch and its own ONNX exports

TIMM: dict[str, dict[str, Any]] = {
    "resnet18": {}, "densenet121": {}, "mobilenetv3_small_100": {}, "efficientnet_b0": {},
    "regnety_002": {}, "ghostnet_100": {}, "convnext_atto": {}, "poolformer_s12": {},
    "vit_tiny_patch16_224": {"img_size": SIZE}, "mixer_s32_224": {"img_size": SIZE},
}  # fmt: skip
EXPORTERS = ("torch.export", "TorchScript")


def _exports() -> list[Whole]:
    return [
        Whole(
            f"{name}, {exporter}", lambda name=name: _timm(name),
            lambda net, folder, exporter=exporter: _exported(net, folder, exporter),
            lambda: _images()[:1],
        )
        for name in TIMM
        for exporter in EXPORTERS
    ]  # fmt: skip


def _timm(name: str) -> Any:
    import torch

    from inception_parity.backends.libraries import torchvision  # before timm imports it

    assert torchvision
    import timm

    torch.manual_seed(0)
    net = timm.create_model(name, pretrained=False, **TIMM[name])
    randomise(net)
    return net.eval()


def _exported(net: Any, folder: Path, exporter: str) -> str:
    import torch

    file = folder / "exported.onnx"
    images = torch.zeros(1, 3, SIZE, SIZE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net, (images,), str(file), dynamo=exporter == EXPORTERS[0], verbose=False,
            external_data=False, input_names=["images"],
        )  # fmt: skip
    return str(file)


def quiet() -> None:
    """Let the frameworks start without their messages."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")


def named(names: Sequence[str]) -> list[Whole]:
    """Return the pairs of these names; all without any."""
    return [pair for pair in pairs() if not names or pair.name in names]
