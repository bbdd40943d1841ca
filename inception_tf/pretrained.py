"""Networks from weight files, including other people's, and the preprocessing of their images."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from .preprocessing import Preprocess


def load_pretrained(
    path: str | Path,
    verify: bool = True,
    num_classes: int | None = None,
    head: bool = True,
    seed: int = 0,
    **options: Any,
) -> Any:
    """Return the network whose weights a file holds, in evaluation mode.

    It is built from this package's layers. The file may hold shared weights, or come from any
    library that `inception-parity convert` reads; its content tells which. Only this function
    needs the engine, which it imports by name when it is called.

    Args:
        path: the file, or a name that `inception-parity pretrained` lists, such as
            `torchvision/inception_v3`; its file is downloaded the first time.
        verify: whether a network from another library is first run there, if that
            library is installed, and compared with this one; otherwise a warning
            says that the conversion is unverified.
        num_classes: length of the logits. If the file has another number, or no classifier, a
            warning says that a new classifier is put in place, also in auxiliary heads.
        head: False for a network without a classifier, which returns its features.
        seed: of a new classifier.
        **options: options that the file can't tell, such as `transform_input=True`;
            `use_aux=False` leaves the auxiliary heads out.

    Raises:
        ImportError: the engine, inception_parity, isn't installed.
        inception_parity.InputError: the file can't be used.
        inception_parity.conversion.converting.DisagreeError: the two networks don't agree.
    """
    engine = _engine("load_pretrained")
    return engine.load_pretrained(path, "tf", verify, num_classes, head, seed, **options)


def load_preprocessing(name: str) -> Preprocess:
    """Return what the weights of a name expect of images, as a callable of this framework.

    Args:
        name: one that `inception-parity pretrained` lists.

    Raises:
        ImportError: the engine, inception_parity, isn't installed.
        inception_parity.InputError: there are no weights of that name.
    """
    return Preprocess(**_engine("load_preprocessing").entry(name).preprocessing.settings())


def _engine(what: str) -> Any:
    """Return the package inception_parity, which `what` needs."""
    try:
        return import_module("inception_parity")
    except ModuleNotFoundError as error:
        raise ImportError(
            f"{what} needs the package inception_parity, which reads files from other libraries "
            f"({error}); pip install inception-parity"
        ) from error
