"""Run the same network in several frameworks, and prove that they agree.

>>> import inception_parity
>>> net = inception_parity.load("googlenet.safetensors", "pt")  # doctest: +SKIP
>>> net = inception_parity.load_pretrained("inception_v3.pth", "tf")  # doctest: +SKIP
>>> print(inception_parity.compare(original, port, images))  # doctest: +SKIP
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .errors import InputError
from .versions import __version__

if TYPE_CHECKING:
    from .conversion.loading import load_pretrained
    from .models import StepOptions, capture, compare
    from .pretrained import class_names, entry
    from .tensors import compare_tensors
    from .traces.weights import load, save

__all__ = [
    "InputError",
    "StepOptions",
    "__version__",
    "capture",
    "class_names",
    "compare",
    "compare_tensors",
    "entry",
    "load",
    "load_pretrained",
    "save",
]
# Fetched when they are asked for, so that a pytest that merely has our plugin stays quick.
_WHERE = {
    "StepOptions": ".models",
    "capture": ".models",
    "class_names": ".pretrained",
    "compare": ".models",
    "compare_tensors": ".tensors",
    "entry": ".pretrained",
    "load": ".traces.weights",
    "load_pretrained": ".conversion.loading",
    "save": ".traces.weights",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_WHERE[name], __name__), name)
