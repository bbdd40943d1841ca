"""Networks from files of weights, other people's among them."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any


def load_pretrained(path: str | Path, verify: bool = True, **options: Any) -> Any:
    """Return the network whose weights a file holds, built of this package's layers.

    The file may be one of shared weights, or torchvision's, timm's, Keras' or the
    Gluon model zoo's; its content tells. This is the one function here that needs the
    engine beside the package, which it imports by name when it is called.

    Args:
        path: the file.
        verify: whether a network that isn't ours is first run in its own library,
            if that is installed, and compared with this one; otherwise a warning
            says that nothing is proven.
        **options: what the file can't tell, such as `transform_input=True`;
            `use_aux=False` leaves the auxiliary heads out.

    Raises:
        ImportError: the engine, inception_parity, isn't there.
        inception_parity.InputError: the file can't be used.
        inception_parity.conversion.converting.DisagreeError: the two networks don't agree.
    """
    try:
        engine = import_module("inception_parity")
    except ModuleNotFoundError as error:
        raise ImportError(
            "load_pretrained needs inception_parity beside this package, which knows other "
            f"people's files ({error}): pip install inception-parity"
        ) from error
    return engine.load_pretrained(path, "mx", verify, **options)
