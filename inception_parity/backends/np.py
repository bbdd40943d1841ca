"""NumPy: the float64 oracle, which also records the inputs of each layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..networks.catalogue import Network
from .base import Adapter, After, Before, Factors, UnavailableError


class Backend(Adapter):
    """NumPy on the CPU."""

    name = "np"
    dtypes = ("float64",)

    def __init__(self, device: str) -> None:
        super().__init__(device)
        if device != "cpu":
            raise UnavailableError("NumPy computes on the CPU only")

    def versions(self) -> dict[str, str]:
        return {}

    def build(self, network: Network, options: Mapping[str, Any], dtype: str) -> Any:
        return network.build(self.package, options)

    def attach(self, module: Any, before: Before, after: After) -> Callable[[], None]:
        def pre_hook(_: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
            return before(args)

        def hook(_: Any, args: tuple[Any, ...], output: Any) -> None:
            after(args, output)

        module.pre_hooks.append(pre_hook)
        module.hooks.append(hook)

        def detach() -> None:
            module.pre_hooks.remove(pre_hook)
            module.hooks.remove(hook)

        return detach

    def to_native(self, array: NDArray[Any], dtype: str) -> Any:
        return np.asarray(array, dtype=np.float64)

    def to_shared(self, tensor: Any) -> NDArray[Any]:
        return np.asarray(tensor)  # the writer copies

    def dropout(self, module: Any) -> float | None:
        return getattr(module, "p", None)

    def multiply_by(self, module: Any, factors: Factors | None) -> None:
        module.draw = factors or np.ones
