"""Run the same network in several frameworks, and prove that they agree.

>>> import inception_parity
>>> net = inception_parity.load("googlenet.safetensors", "pt")  # doctest: +SKIP
>>> print(inception_parity.compare(original, port, images))  # doctest: +SKIP
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .errors import InputError

if TYPE_CHECKING:
    from .ports import capture, compare
    from .weights import load, save

__all__ = ["InputError", "capture", "compare", "load", "save"]
__version__ = "0.1.0"

# Fetched when they are asked for, so that a pytest that merely has our plugin stays quick.
_WHERE = {"capture": ".ports", "compare": ".ports", "load": ".weights", "save": ".weights"}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_WHERE[name], __name__), name)
