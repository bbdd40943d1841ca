"""What all networks have in common: features, layers by name, and another classifier."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._mxnet import gluon, mxnet
from .layers import IMAGENET_MEAN, IMAGENET_STD, HeadedBlock, Linear, require_classes


class Network(HeadedBlock):
    """A network of this package: its layers, and what can be done with it besides running it.

    A subclass says where its parts are, by their dotted paths, and assigns `options`, its
    arguments. Without a classifier, as with `num_classes=0`, a network returns its features.
    """

    classifier: str
    head_classifiers: tuple[str, ...] = ()  # of its auxiliary heads, in the order of its outputs
    grid_layer: str  # returns the features of each place in the image
    pooled_layer: str  # returns what the classifier is given
    num_features: int
    options: dict[str, Any]

    def __call__(self, x: Any, *args: Any) -> Any:
        self.require_floats(x)
        return super().__call__(x, *args)

    def heads_run(self) -> bool:
        return bool(self.options.get("use_aux")) and super().heads_run()

    def require_floats(self, x: Any) -> None:
        """Raise TypeError, which says how to preprocess them, if images are whole numbers."""
        if isinstance(x, mxnet.nd.NDArray) and np.dtype(x.dtype).kind in "biu":
            raise TypeError(refusal(np.dtype(x.dtype).name, self.options))

    def features(self, x: Any, *, pooled: bool = True) -> Any:
        """Return what the classifier is given, (N, num_features).

        In training mode a dropout may come before it.

        Args:
            x: images.
            pooled: False for the grid that its pool averages, (N, C, H, W).
        """
        layer = self.pooled_layer if pooled else self.grid_layer
        return self.endpoints(x, [layer])[layer]

    def endpoints(self, x: Any, names: Sequence[str]) -> dict[str, Any]:
        """Return the outputs of layers or blocks, by their dotted paths.

        Args:
            x: images.
            names: paths, such as `Mixed_5b` or `Mixed_5b.branch1x1.conv`.

        Raises:
            ValueError: names every path where there is no layer, or one that didn't run.
        """
        modules, found, handles = dict(_named_blocks(self)), dict[str, Any](), []
        require_known(names, modules)
        for name in names:

            def keep(module: gluon.Block, inputs: Any, output: Any, name: str = name) -> None:
                found[name] = output

            handles.append(modules[name].register_forward_hook(keep))
        hybridized = [module for module in modules.values() if module._active]
        try:
            for module in hybridized:  # a traced block doesn't call the blocks inside
                module._active = False
            self(x)
        finally:
            for module in hybridized:
                module._active = True
            for handle in handles:
                handle.detach()
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
            self._remove(self.classifier)
            self._drop_heads()
            return []
        paths = [self.classifier, *(self.head_classifiers if self.options.get("use_aux") else ())]
        for path in paths:
            inputs = self._inputs_of(path)
            arrays = drawn(path, (num_classes, inputs), seed)
            linear = Linear(inputs, num_classes)
            like = next(iter(self.collect_params().values()))
            linear.initialize(ctx=like.list_ctx())
            linear.cast(like.dtype)
            linear.weight.set_data(mxnet.np.array(arrays["weight"], dtype=like.dtype))
            linear.bias.set_data(mxnet.np.array(arrays["bias"], dtype=like.dtype))
            self._put(path, linear)
        return [f"{path}.{array}" for path in paths for array in ("weight", "bias")]

    def _drop_heads(self) -> None:
        for path in self.head_classifiers:
            self._remove(path.partition(".")[0])
        self.return_aux = False
        self.options |= {name: False for name in ("use_aux", "return_aux") if name in self.options}

    def _remove(self, name: str) -> None:
        self._children.pop(name, None)
        self.__dict__[name] = None  # Gluon refuses to put None in a block's place
        self._clear_cached_op()

    def _inputs_of(self, path: str) -> int:
        linear = dict(_named_blocks(self)).get(path)
        return linear.weight.shape[1] if isinstance(linear, Linear) else self.num_features

    def _put(self, path: str, linear: Linear) -> None:
        above, _, name = path.rpartition(".")
        parent = dict(_named_blocks(self))[above]
        linear.hybridize(parent._active)
        if isinstance(parent, gluon.nn.HybridSequential):
            parent.register_child(linear, name)
        else:
            setattr(parent, name, linear)
        self._clear_cached_op()


def _named_blocks(block: gluon.Block, prefix: str = "") -> Iterator[tuple[str, gluon.Block]]:
    yield prefix, block
    for name, child in block._children.items():
        yield from _named_blocks(child, f"{prefix}.{name}" if prefix else name)


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
