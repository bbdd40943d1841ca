"""The only place that imports MXNet, with the workarounds that importing it needs.

MXNet 1.9.1 is the last release. It uses aliases that NumPy 1.24 removed, and
its wheel needs two system libraries that minimal systems lack. A program that imports
MXNet itself must import this package first: `import mxnet` alone fails with
"module 'numpy' has no attribute 'bool'".
"""

from __future__ import annotations

from importlib.util import find_spec

import numpy

_ALIASES = {"bool": bool, "object": object, "int": int, "float": float, "complex": complex,
            "str": str}  # fmt: skip

if find_spec("mxnet") is None:  # first: without MXNet, numpy < 2 wouldn't help
    raise ModuleNotFoundError(
        "no module named 'mxnet'; its last release, 1.9.1, has wheels for Linux on x86-64 and "
        "Python 3.11 or older only",
        name="mxnet",
    )

if int(numpy.__version__.split(".")[0]) >= 2:
    raise ImportError(
        f"MXNet 1.9.1 needs numpy < 2, but numpy {numpy.__version__} is installed: "
        "pip install 'numpy<2', or give MXNet an interpreter of its own"
    )

for _name, _type in _ALIASES.items():
    if _name not in vars(numpy):  # vars, since attribute access would warn
        setattr(numpy, _name, _type)

try:
    import mxnet
except OSError as error:  # how the loader reports a missing shared library
    raise ImportError(
        f"MXNet can't load a system library ({error}). It needs libgomp1 and libquadmath0: "
        "apt-get install libgomp1 libquadmath0"
    ) from error

from mxnet import gluon
from mxnet.gluon import nn

__all__ = ["gluon", "mxnet", "nn"]

mxnet.npx.set_np()  # NumPy semantics (scalars, zero sizes) for the whole process
