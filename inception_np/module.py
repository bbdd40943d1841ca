"""The building blocks of networks in NumPy: modules with named children, arrays and hooks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Module:
    """A part of a network: named children, arrays, a `forward`, and hooks.

    Children and arrays are the attributes, in the order of assignment; dotted
    attribute paths are the shared names. A pre-hook may replace the inputs, a
    hook may replace the output, by returning something other than None.
    """

    buffers: tuple[str, ...] = ()  # arrays that gradients don't train
    training = False  # for batch norm, dropout and auxiliary heads

    def __init__(self) -> None:
        self.pre_hooks: list[Callable[[Module, tuple[Any, ...]], Any]] = []
        self.hooks: list[Callable[[Module, tuple[Any, ...], Any], Any]] = []

    def forward(self, *inputs: Any) -> Any:
        raise TypeError(f"{type(self).__name__} defines no forward")

    def __call__(self, *inputs: Any) -> Any:
        for pre_hook in self.pre_hooks:
            replaced = pre_hook(self, inputs)
            inputs = inputs if replaced is None else replaced
        output = self.forward(*inputs)
        for hook in self.hooks:
            replaced = hook(self, inputs, output)
            output = output if replaced is None else replaced
        return output

    def train(self, mode: bool = True) -> None:
        """Switch training mode on or off for this module and all below it."""
        for _, module in self.named_modules():
            module.training = mode

    def children(self) -> Iterator[tuple[str, Module]]:
        """Yield (attribute, module) for each direct child, in order."""
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield name, value

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """Yield (dotted path, module) for this module and all below it."""
        yield prefix, self
        for name, child in self.children():
            yield from child.named_modules(f"{prefix}.{name}" if prefix else name)

    def arrays(self) -> dict[str, Array]:
        """Return this module's own arrays, without those of its children."""
        return {k: v for k, v in vars(self).items() if isinstance(v, np.ndarray)}

    def describe(self) -> str:
        """Describe this module in a few words, for reports."""
        return type(self).__name__


class Sequential(Module):
    """Modules applied one after the other; children are named 0, 1, 2, …"""

    def __init__(self, *modules: Module) -> None:
        super().__init__()
        self.modules = modules

    def children(self) -> Iterator[tuple[str, Module]]:
        for index, module in enumerate(self.modules):
            yield str(index), module

    def forward(self, x: Any) -> Any:
        for module in self.modules:
            x = module(x)
        return x
