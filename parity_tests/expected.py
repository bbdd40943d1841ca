"""Numbers from the sources, transcribed by hand; this file imports nothing of ours.

d2l: Dive into Deep Learning, section 8.4, "Networks with Parallel
Concatenations (GoogLeNet)". A number that is wrong in all four packages alike
passes every comparison between them; it doesn't pass this one.
"""

from __future__ import annotations

import math

# d2l's printed table for an input of 1 x 1 x 96 x 96.
STAGES_AT_96 = {
    "b1": (1, 64, 24, 24),
    "b2": (1, 192, 12, 12),
    "b3": (1, 480, 6, 6),
    "b4": (1, 832, 3, 3),
    "b5": (1, 1024),
    "fc": (1, 10),
}

# d2l's code: Inception(in_channels, c1, c2, c3, c4), by stage and position.
INCEPTION_ROWS = {
    "b3.0": (192, 64, (96, 128), (16, 32), 32),
    "b3.1": (256, 128, (128, 192), (32, 96), 64),
    "b4.0": (480, 192, (96, 208), (16, 48), 64),
    "b4.1": (512, 160, (112, 224), (24, 64), 64),
    "b4.2": (512, 128, (128, 256), (24, 64), 64),
    "b4.3": (512, 112, (144, 288), (32, 64), 64),
    "b4.4": (528, 256, (160, 320), (32, 128), 128),
    "b5.0": (832, 256, (160, 320), (32, 128), 128),
    "b5.1": (832, 384, (192, 384), (48, 128), 128),
}

# d2l's text: 64+128+32+32=256, 128+192+96+64=480, …
INCEPTION_SUMS = {
    "b3.0": 256, "b3.1": 480,
    "b4.0": 512, "b4.1": 512, "b4.2": 512, "b4.3": 528, "b4.4": 832,
    "b5.0": 832, "b5.1": 1024,
}  # fmt: skip

# Height and width at which the blocks of a stage work, from the table above:
# a stage works at what the one before it leaves.
SIZES_AT_96 = {"b3": 12, "b4": 6, "b5": 3}

# Trainable parameters, (in_channels, num_classes) -> count.
PARAMETERS = {(1, 10): 5_977_530, (3, 1000): 6_998_552}


def convolutions(in_channels: int) -> dict[str, tuple[int, int, int, int]]:
    """Return the kernel of every convolution: name -> (out, in, height, width)."""
    kernels = {
        "b1.0": (64, in_channels, 7, 7),
        "b2.0": (64, 64, 1, 1),
        "b2.1": (192, 64, 3, 3),
    }
    for block, (c_in, c1, c2, c3, c4) in INCEPTION_ROWS.items():
        kernels[f"{block}.p1_1"] = (c1, c_in, 1, 1)
        kernels[f"{block}.p2_1"] = (c2[0], c_in, 1, 1)
        kernels[f"{block}.p2_2"] = (c2[1], c2[0], 3, 3)
        kernels[f"{block}.p3_1"] = (c3[0], c_in, 1, 1)
        kernels[f"{block}.p3_2"] = (c3[1], c3[0], 5, 5)
        kernels[f"{block}.p4_2"] = (c4, c_in, 1, 1)
    return kernels


def weight_shapes(
    in_channels: int, num_classes: int, batch_norm: bool
) -> dict[str, tuple[int, ...]]:
    """Return the shape of every array of the network, in its order."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, kernel in convolutions(in_channels).items():
        shapes[f"{name}.conv.weight"] = kernel
        shapes[f"{name}.conv.bias"] = kernel[:1]
        if batch_norm:
            for array in ("weight", "bias", "running_mean", "running_var"):
                shapes[f"{name}.norm.{array}"] = kernel[:1]
    shapes["fc.weight"] = (num_classes, 1024)
    shapes["fc.bias"] = (num_classes,)
    return shapes


def parameters(in_channels: int, num_classes: int, batch_norm: bool) -> int:
    """Return the number of trainable parameters; running statistics aren't trained."""
    return sum(
        math.prod(shape)
        for name, shape in weight_shapes(in_channels, num_classes, batch_norm).items()
        if "running" not in name
    )


def endpoints_at_96(batch_norm: bool) -> dict[str, tuple[int, ...]]:
    """Return every endpoint of a 1 x 1 x 96 x 96 run in execution order, with its shape."""
    shapes: dict[str, tuple[int, ...]] = {"input": (1, 1, 96, 96)}

    def conv(name: str, channels: int, size: int) -> None:
        for part in (".conv", ".norm", ".act", ""):
            if part != ".norm" or batch_norm:
                shapes[name + part] = (1, channels, size, size)

    conv("b1.0", 64, 48)
    shapes["b1.1"] = shapes["b1"] = STAGES_AT_96["b1"]
    conv("b2.0", 64, 24)
    conv("b2.1", 192, 24)
    shapes["b2.2"] = shapes["b2"] = STAGES_AT_96["b2"]
    for block, (c_in, c1, c2, c3, c4) in INCEPTION_ROWS.items():
        stage, _, position = block.partition(".")
        size = SIZES_AT_96[stage]
        conv(f"{block}.p1_1", c1, size)
        conv(f"{block}.p2_1", c2[0], size)
        conv(f"{block}.p2_2", c2[1], size)
        conv(f"{block}.p3_1", c3[0], size)
        conv(f"{block}.p3_2", c3[1], size)
        shapes[f"{block}.p4_1"] = (1, c_in, size, size)
        conv(f"{block}.p4_2", c4, size)
        shapes[f"{block}.concat"] = shapes[block] = (1, INCEPTION_SUMS[block], size, size)
        last = {"b3": "1", "b4": "4"}.get(stage)
        if position == last:
            shapes[f"{stage}.{int(last) + 1}"] = shapes[stage] = STAGES_AT_96[stage]
    shapes["b5.2"] = (1, 1024, 1, 1)
    shapes["b5.3"] = shapes["b5"] = STAGES_AT_96["b5"]
    shapes["fc"] = shapes["logits"] = STAGES_AT_96["fc"]
    return shapes
