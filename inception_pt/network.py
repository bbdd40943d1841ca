"""What all networks have in common: features, layers by name, and another classifier."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .layers import IMAGENET_MEAN, IMAGENET_STD, Linear, require_classes


class Network(nn.Module):
    """A network of this package: its layers, and what can be done with it besides running it.

    A subclass says where its parts are, by their dotted paths, and assigns `options`, its
    arguments. Without a classifier, as with `num_classes=0`, a network returns its features.
    """

    classifier: str
    head_classifiers: tuple[str, ...] = ()  # of its auxiliary heads, in the order of its outputs
    grid_layer: str  # returns the features of each place in the image
    pooled_layer: str  # returns what the classifier is given
    if TYPE_CHECKING:  # TorchScript would read the types, and can't
        num_features: int
        options: dict[str, Any]

    def __call__(self, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        self.require_floats(x)
        return super().__call__(x, *args, **kwargs)

    def require_floats(self, x: Tensor) -> None:
        """Raise TypeError, which says how to preprocess them, if images are whole numbers."""
        if isinstance(x, Tensor) and not (x.is_floating_point() or x.is_complex()):
            raise TypeError(refusal(str(x.dtype), self.options))

    def features(self, x: Tensor, *, pooled: bool = True) -> Tensor:
        """Return what the classifier is given, (N, num_features).

        In training mode a dropout may come before it.

        Args:
            x: images.
            pooled: False for the grid that its pool averages, (N, C, H, W).
        """
        layer = self.pooled_layer if pooled else self.grid_layer
        return self.endpoints(x, [layer])[layer]

    def endpoints(self, x: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
        """Return the outputs of layers or blocks, by their dotted paths.

        Args:
            x: images.
            names: paths, such as `Mixed_5b` or `Mixed_5b.branch1x1.conv`.

        Raises:
            ValueError: names every path where there is no layer, or one that didn't run.
        """
        modules, found, handles = dict(self.named_modules()), dict[str, Tensor](), []
        require_known(names, modules)
        for name in names:

            def keep(module: nn.Module, inputs: Any, output: Tensor, name: str = name) -> None:
                found[name] = output

            handles.append(modules[name].register_forward_hook(keep))
        try:
            self(x)
        finally:
            for handle in handles:
                handle.remove()
        require_run(names, found)
        return {name: found[name] for name in names}

    def reset_classifier(self, num_classes: int, seed: int = 0) -> list[str]:
        """Put a new classifier in place, also in auxiliary heads; all other weights stay.

        Args:
            num_classes: length of the logits; 0 for no classifier and no heads.
            seed: of the new weights, which are the same in every package.

        Returns:
            The shared names of the new arrays.

        Raises:
            ValueError: the number is negative.
        """
        require_classes(num_classes)
        self.options["num_classes"] = num_classes
        if not num_classes:
            setattr(self, self.classifier, None)
            self._drop_heads()
            return []
        paths = [self.classifier, *(self.head_classifiers if self.options.get("use_aux") else ())]
        for path in paths:
            inputs = self._inputs_of(path)
            arrays = drawn(path, (num_classes, inputs), seed)
            linear = Linear(inputs, num_classes)
            with torch.no_grad():
                linear.weight.copy_(torch.from_numpy(arrays["weight"]))
                linear.bias.copy_(torch.from_numpy(arrays["bias"]))
            self._put(path, linear)
        return [f"{path}.{array}" for path in paths for array in ("weight", "bias")]

    def _drop_heads(self) -> None:
        for path in self.head_classifiers:
            setattr(self, path.partition(".")[0], None)
        self.return_aux = False
        self.options |= {name: False for name in ("use_aux", "return_aux") if name in self.options}

    def _inputs_of(self, path: str) -> int:
        linear = dict(self.named_modules()).get(path)
        return linear.in_features if isinstance(linear, Linear) else self.num_features

    def _put(self, path: str, linear: Linear) -> None:
        above, _, name = path.rpartition(".")
        like = next(self.parameters())
        setattr(self.get_submodule(above), name, linear.to(like.device, like.dtype))


def drawn(path: str, shape: tuple[int, int], seed: int) -> dict[str, NDArray[np.float64]]:
    """Return the weight and bias of a new classifier; the weight depends on path, shape and seed.

    It is uniform in ±1 / sqrt(inputs), as a new `Linear` of PyTorch, and exact in float32; the
    bias is 0. Raw integers of PCG64 are the same with every version of NumPy.
    """
    entropy = hashlib.sha256(f"classifier {seed} {path}".encode()).digest()
    generator = np.random.PCG64(int.from_bytes(entropy, "little"))
    raw = generator.random_raw(math.prod(shape)).reshape(shape) >> np.uint64(40)
    unit = (2 * raw.astype(np.float64) + 1) / (1 << 24) - 1
    weight = (unit / math.sqrt(shape[1])).astype(np.float32).astype(np.float64)
    return {"weight": weight, "bias": np.zeros(shape[0])}


def refusal(dtype: str, options: Mapping[str, Any]) -> str:
    """Say that images of whole numbers are refused, and how the network wants them."""
    if options.get("transform_input"):
        how = f"(pixels / 255 - mean) / std with mean {IMAGENET_MEAN} and std {IMAGENET_STD}"
    elif "half_pixel_centres" in options:
        how = "pixels / 255 as in pytorch-fid, or pixels / 256 as in TensorFlow"
    else:
        how = "as for its weights, which is mostly pixels / 127.5 - 1, from -1 to 1"
    return f"images of dtype {dtype}, but should be floating point, preprocessed: {how}"


def require_known(names: Sequence[str], known: Collection[str]) -> None:
    """Raise ValueError naming every path where there is no layer."""
    wrong = [name for name in names if name not in known or not name]
    if wrong:
        raise ValueError(
            f"no layer at {', '.join(map(repr, wrong))}; paths are like {next(filter(None, known))}"
        )


def require_run(names: Sequence[str], found: Collection[str]) -> None:
    """Raise ValueError naming every layer that didn't run, as those of heads in inference."""
    wrong = [name for name in names if name not in found]
    if wrong:
        raise ValueError(f"{', '.join(wrong)}: doesn't run; heads do with return_aux=True")
