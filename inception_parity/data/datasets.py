"""Training data: known data sets, or folders of images.

Fashion-MNIST is read from four idx files, zipped or not; CIFAR-10 from its binary files, or from
PNG files of a row per image with labels in JSON, as a package for browsers has them. They are
looked for in the given folder, or else where Debian's `dataset-fashion-mnist` is installed, or
else among earlier downloads; otherwise they are downloaded, and accepted only with the right hash.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import InputError, nearest
from . import download, images
from .feed import DataSet, Split

FASHION_MNIST = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
CIFAR_10 = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
NAMES = ("fashion-mnist", "cifar-10")

DEBIAN = Path("/usr/share/datasets/fashion-mnist")


def load(what: str, folder: Path | None, say: Callable[[str], None] = lambda text: None) -> DataSet:
    """Return a data set.

    Args:
        what: `fashion-mnist`, `cifar-10`, or a folder with a sub-folder of images per class.
        folder: where the files of a known data set are; None to look, and to download.
        say: called with a line that says what is being done.

    Raises:
        InputError: there are no such data, or they can't be read or downloaded.
    """
    if what in NAMES:
        if folder is not None and not folder.is_dir():
            raise InputError(f"{folder}: no such folder; give the one that holds {what}")
        return fashion_mnist(folder, say) if what == "fashion-mnist" else cifar_10(folder, say)
    if folder is not None:
        raise InputError(f"--data-folder goes with {' or '.join(NAMES)}, but not with {what}")
    if not Path(what).is_dir():
        raise InputError(
            f"no data {what!r}{nearest(what, NAMES)}; give {', '.join(NAMES)} or a folder of images"
        )
    return image_folder(Path(what))


def fashion_mnist(folder: Path | None, say: Callable[[str], None]) -> DataSet:
    """Return Fashion-MNIST: 60,000 and 10,000 grey images of 28x28, unless `folder` has others."""
    if folder is None:
        folder = DEBIAN if DEBIAN.is_dir() else download.fashion_mnist(say)
    raw = {name: _raw_idx(folder, name) for name in download.FASHION_MNIST}
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in raw.items()}
    splits = []
    for kind in ("train", "t10k"):
        pixels = _idx(raw[f"{kind}-images-idx3-ubyte"], 3, folder / f"{kind}-images-idx3-ubyte")
        labels = _idx(raw[f"{kind}-labels-idx1-ubyte"], 1, folder / f"{kind}-labels-idx1-ubyte")
        splits.append(_of_arrays(pixels, labels, FASHION_MNIST, f"{folder}: {kind}"))
    published = hashes == download.FASHION_MNIST
    note = f"{folder}" + ("" if published else " (not the published files)")
    return DataSet("fashion-mnist", FASHION_MNIST, 1, _joint(hashes), splits[0], splits[1], note)


def _raw_idx(folder: Path, name: str) -> bytes:
    for file in (folder / name, folder / f"{name}.gz"):
        if file.is_file():
            try:
                content = file.read_bytes()
                return gzip.decompress(content) if file.suffix == ".gz" else content
            except (OSError, EOFError, zlib.error) as error:
                raise InputError(
                    f"{file}: can't be read ({error}); a damaged copy; get it again"
                ) from error
    raise InputError(f"{folder}: there is no {name} or {name}.gz in this folder")


def _idx(content: bytes, dimensions: int, file: Path) -> NDArray[np.uint8]:
    """Return the array of an idx file: two zero bytes, type 8 (unsigned byte), sizes, content."""
    header = 4 + 4 * dimensions
    if len(content) < header or content[:4] != bytes((0, 0, 8, dimensions)):
        raise InputError(f"{file}: not an idx file of {dimensions}-dimensional unsigned bytes")
    shape = tuple(int(n) for n in np.frombuffer(content, ">u4", dimensions, 4))
    if len(content) - header != int(np.prod(shape)):
        raise InputError(
            f"{file}: {len(content) - header:,} bytes of content, but should be "
            f"{'x'.join(map(str, shape))}; a truncated copy; get it again"
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def cifar_10(folder: Path | None, say: Callable[[str], None]) -> DataSet:
    """Return CIFAR-10: 50,000 and 10,000 RGB images of 32x32."""
    if folder is None:
        folder = download.cifar_10(say)
    inner = folder / "cifar-10-batches-bin"
    folder = inner if inner.is_dir() else folder
    names = [f"data_batch_{n}" for n in range(1, 6)], ["test_batch"]
    if (folder / "test_batch.bin").is_file():
        read = [_cifar_binary([folder / f"{name}.bin" for name in group]) for group in names]
    elif (folder / "test_batch.png").is_file():
        read = [_cifar_png(folder, *pair) for pair in zip(names, ("train", "test"), strict=True)]
    else:
        raise InputError(
            f"{folder}: neither test_batch.bin nor test_batch.png in this folder; CIFAR-10 is read "
            "from its binary version (data_batch_1.bin …), or from PNG files of a row per image"
        )
    hashes = {
        f"{kind} {what}": hashlib.sha256(array.tobytes()).hexdigest()
        for kind, pair in zip(("train", "test"), read, strict=True)
        for what, array in zip(("pixels", "labels"), pair, strict=True)
    }
    splits = [
        _of_arrays(pixels, labels, CIFAR_10, f"{folder}: {kind}")
        for (pixels, labels), kind in zip(read, ("train", "test"), strict=True)
    ]
    return DataSet("cifar-10", CIFAR_10, 3, _joint(hashes), splits[0], splits[1], str(folder))


def _cifar_binary(files: Iterable[Path]) -> tuple[NDArray[Any], ...]:
    """Read records of a label and 3 x 32 x 32 pixels."""
    records = []
    for file in files:
        try:
            content = file.read_bytes()
        except OSError as error:
            raise InputError(f"{file}: can't be read ({error.strerror})") from error
        if not content or len(content) % 3073:
            raise InputError(f"{file}: {len(content):,} bytes, but should be records of 3,073")
        records.append(np.frombuffer(content, np.uint8).reshape(-1, 3073))
    joined = np.concatenate(records)
    return joined[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), joined[:, 0]


def _cifar_png(folder: Path, names: list[str], kind: str) -> tuple[NDArray[Any], ...]:
    """Read PNG files with a row of 32 x 32 RGB pixels per image, and labels as a list in JSON."""
    rows = []
    for name in names:
        row = np.asarray(images.decoded(folder / f"{name}.png", "RGB"))
        if row.shape[1:] != (1024, 3):
            raise InputError(f"{folder / name}.png: rows of {row.shape[1]} pixels, not of 1,024")
        rows.append(row.reshape(-1, 32, 32, 3))
    file = folder / f"{kind}_lables.json"  # spelt so in the package
    try:
        labels = np.asarray(json.loads(file.read_text()), dtype=np.int64)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{file}: can't be read as a list of labels ({error})") from error
    return np.concatenate(rows), labels


def _of_arrays(
    pixels: NDArray[np.uint8], labels: NDArray[Any], classes: tuple[str, ...], where: str
) -> Split:
    if labels.shape != pixels.shape[:1] or len(labels) == 0:
        raise InputError(f"{where}: {len(pixels):,} images, but labels of shape {labels.shape}")
    labels = labels.astype(np.int64)
    if labels.min() < 0 or labels.max() >= len(classes):
        raise InputError(f"{where}: labels should be 0 to {len(classes) - 1}")

    def read(number: int, mode: str) -> Image.Image:
        return Image.fromarray(np.ascontiguousarray(pixels[number])).convert(mode)

    return Split(labels, read)


def image_folder(folder: Path) -> DataSet:
    """Return the images in the sub-folders of `folder`, each of which is a class.

    If there are sub-folders `train` and `test` (or `val`), the classes are in those. Otherwise
    every fifth image of each class, by name, is for the test.

    Raises:
        InputError: fewer than two classes, a class without images, or a class in the test
            that isn't in the training.
    """
    parts = [folder / "train", *(p for p in (folder / "test", folder / "val") if p.is_dir())][:2]
    split = len(parts) == 2 and parts[0].is_dir()
    classes = tuple(sorted(p.name for p in (parts[0] if split else folder).iterdir() if p.is_dir()))
    if len(classes) < 2:
        raise InputError(
            f"{folder}: {len(classes)} sub-folders, but should be one per class, two or more; "
            "or train and test, with one per class in each"
        )
    if split:
        strange = [p.name for p in parts[1].iterdir() if p.is_dir() and p.name not in classes]
        if strange:
            raise InputError(f"{parts[1]}: classes that aren't trained: {', '.join(strange)}")
        train, test = (_labelled(part, classes) for part in parts)
    else:
        train = _labelled(folder, classes, lambda place: place % 5 != 4)
        test = _labelled(folder, classes, lambda place: place % 5 == 4)
        if not test:
            raise InputError(f"{folder}: fewer than five images in every class: none to test with")
    listed = {str(f.relative_to(folder)): str(f.stat().st_size) for f, _ in [*train, *test]}
    note = f"{folder}, {'as split there' if split else 'every fifth image to test with'}"
    return DataSet(str(folder), classes, 3, _joint(listed), _of_files(train), _of_files(test), note)


def _labelled(
    folder: Path, classes: tuple[str, ...], wanted: Callable[[int], bool] = lambda place: True
) -> list[tuple[Path, int]]:
    """Return the wanted files of each class, by their place in it, with the class' number."""
    return [
        (file, label)
        for label, name in enumerate(classes)
        for place, file in enumerate(images.find(folder / name))
        if wanted(place)
    ]


def _of_files(pairs: list[tuple[Path, int]]) -> Split:
    files = [file for file, _ in pairs]
    labels = np.array([label for _, label in pairs], dtype=np.int64)
    return Split(labels, lambda number, mode: images.decoded(files[number], mode))


def _joint(hashes: dict[str, str]) -> str:
    text = "\n".join(f"{name} {value}" for name, value in sorted(hashes.items()))
    return hashlib.sha256(text.encode()).hexdigest()
