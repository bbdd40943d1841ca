"""The command `fid`: the Fréchet inception distance of two folders of images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..backends.quiet import quiet
from ..conversion.converting import read
from ..conversion.found import Claim
from ..conversion.identifying import identify
from ..data import images
from ..errors import InputError, nearest
from ..fid.extracting import NETWORK, PREPROCESSINGS, WIDTHS, Extractor
from ..fid.gaussians import Gaussian, frechet_distance
from ..files import digest
from ..networks import catalogue
from ..traces import seeding
from ..traces.weights import Arrays
from . import err, print_json, print_line, progress
from .arguments import require_dtype
from .option_groups import command


@dataclass(frozen=True)
class NetworkOptions:
    """The network whose features are compared, and how it is run."""

    backend: str = "pt"
    weights: Path | None = None
    seed: int = 0
    features: int = 2048
    preprocessing: str = "tensorflow"
    dtype: str = "float32"
    batch: int = 16
    device: str = "cpu"

    def check(self) -> None:
        """Raise InputError for what can't be used."""
        catalogue.backend(self.backend)
        if self.backend not in (*catalogue.default_backends(), catalogue.ORACLE):
            raise InputError(
                f"--backend {self.backend}, but should be one of the frameworks: pt, tf or mx"
            )
        if self.features not in WIDTHS:
            known = ", ".join(map(str, WIDTHS))
            raise InputError(f"--features {self.features}, but should be one of {known}")
        if self.preprocessing not in PREPROCESSINGS:
            raise InputError(
                f"no preprocessing {self.preprocessing!r}"
                f"{nearest(self.preprocessing, PREPROCESSINGS)}; "
                f"there are: {', '.join(PREPROCESSINGS)}"
            )
        require_dtype(self.dtype)
        if self.batch < 1:
            raise InputError(f"--batch {self.batch}, but should be 1 or more")
        if self.device not in ("cpu", "gpu"):
            raise InputError(f"--device {self.device}, but should be cpu or gpu")

    def arrays(self) -> Arrays:
        """Return the weights of the file, or seeded ones."""
        if self.weights is not None:
            with progress() as say:
                return network_weights(self.weights, say)
        return seeding.seeded(NETWORK, {}, self.seed).arrays

    def extractor(self, arrays: Arrays) -> Extractor:
        """Return the network, ready to run."""
        with quiet():
            return Extractor(
                self.backend, arrays, PREPROCESSINGS[self.preprocessing], self.features,
                self.dtype, self.device,
            )  # fmt: skip


def network_weights(path: Path, say: Callable[[str], None] = lambda text: None) -> Arrays:
    """Return the weights of the FID's network, from pytorch-fid's, torch-fidelity's or our file.

    Raises:
        InputError: it can't be read, or isn't of that network.
    """
    return read(identify(path, Claim(network=NETWORK, settings={"in_channels": 3}), say)).arrays


@command("fid")
def fid_command(first: Path, second: Path, network: NetworkOptions, as_json: bool = False) -> None:
    """Compute the Fréchet inception distance (FID) of two folders of images.

    The network is TensorFlow's of 2015-12-05, whose trained weights pytorch-fid and torch-fidelity
    publish; give their file with --weights. Without one, weights are seeded, and the distance can
    only be compared with others of the same seed.

    Images are decoded as RGB and resized to 299x299 by the network, bilinearly and without
    antialiasing. With `--preprocessing tensorflow`, as in the original code and torch-fidelity,
    pixels are divided by 256 and resized without half-pixel centres; with `pytorch-fid` they are
    divided by 255 and resized with half-pixel centres. Mean and covariance are float64.

    Example:

        inception-parity fid images/real images/generated --backend pt --features 2048
    """
    network.check()
    found = [_images(folder) for folder in (first, second)]
    arrays = network.arrays()
    if network.weights is None:
        err.print(
            f"weights are seeded ({network.seed}): not comparable with published distances; "
            "give --weights",
            style="dim",
        )
    for folder, files in zip((first, second), found, strict=True):
        if len(files) <= network.features:
            err.print(
                f"{folder}: {len(files)} images for {network.features} features; the covariance "
                "is singular, and the distance larger than with more images",
                style="dim",
            )
    extractor = network.extractor(arrays)
    gaussians = [
        _gaussian(extractor, folder, files, network.batch)
        for folder, files in zip((first, second), found, strict=True)
    ]
    distance = frechet_distance(*gaussians)
    if as_json:
        result = {
            "fid": distance, "backend": network.backend, "dtype": network.dtype,
            "features": network.features, "preprocessing": network.preprocessing,
            "weights": None if network.weights is None else str(network.weights),
            "seed": network.seed if network.weights is None else None,
            "weights_sha256": digest(arrays),
            "folders": [
                {"path": str(folder), "images": gaussian.count}
                for folder, gaussian in zip((first, second), gaussians, strict=True)
            ],
        }  # fmt: skip
        print_json(result)
        return
    print_line(
        f"FID {distance:.6f}  ({gaussians[0].count} and {gaussians[1].count} images, "
        f"{network.features} features, {network.dtype} in "
        f"{catalogue.BACKENDS[network.backend].title}, preprocessed as by {network.preprocessing})"
    )


def _gaussian(extractor: Extractor, folder: Path, files: list[Path], batch: int) -> Gaussian:
    """Return the distribution of a folder's features, showing how many images are done."""
    with progress(f"{folder}  ") as say:

        def on_images(done: int) -> None:
            say(f"{done}/{len(files)} images")

        return extractor.gaussian(files, batch, on_images)


def _images(folder: Path) -> list[Path]:
    """Return the images in a folder; InputError unless there are two of them."""
    if folder.is_file():
        raise InputError(f"{folder}: a file, but should be a folder of images")
    files = images.find(folder)
    if len(files) < 2:
        raise InputError(f"{folder}: one image, but a covariance needs two or more")
    return files
