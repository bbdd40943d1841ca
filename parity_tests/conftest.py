"""Shared by all tests: the backends under test, their adapters, the header.

`INCEPTION_BACKENDS=np,pt` chooses backends. A chosen one that can't be loaded
fails its tests; it never skips them. Only a missing GPU skips.
"""

from __future__ import annotations

import functools
import gc
import importlib.metadata
import math
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

# Read when a framework is loaded, so they must be set before.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("MXNET_ENGINE_TYPE", "NaiveEngine")
os.environ.setdefault("MXNET_ENFORCE_DETERMINISM", "1")
os.environ.setdefault("MXNET_CUDNN_AUTOTUNE_DEFAULT", "0")
os.environ.setdefault("NVIDIA_TF32_OVERRIDE", "0")
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
if "PYTEST_XDIST_WORKER_COUNT" in os.environ:
    # Several processes with a thread per core each mostly wait for one another.
    workers = int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    threads = str(max(1, (os.cpu_count() or 1) // workers))
    for variable in ("OMP_NUM", "OPENBLAS_NUM", "MKL_NUM", "TF_NUM_INTRAOP", "TF_NUM_INTEROP"):
        os.environ.setdefault(f"{variable}_THREADS", threads)

import pytest

from inception_parity.backends import Adapter, UnavailableError, adapter
from inception_parity.networks import catalogue

from .support.harness import forget_networks
from .support.helpers import Case, trace_of
from .support.selection import mark_slow

DEVICES = ("cpu", "gpu")
SHOWN = ("torch", "tensorflow", "tensorflow-cpu", "keras", "mxnet", "numpy", "safetensors")


def chosen_backends() -> tuple[str, ...]:
    """Return the backends under test, in the catalogue's order."""
    default = (catalogue.ORACLE, *catalogue.default_backends())
    words = os.environ.get("INCEPTION_BACKENDS", ",".join(default)).replace(",", " ").split()
    known = [name for name, info in catalogue.BACKENDS.items() if info.package]
    unknown = [word for word in words if word not in known]
    if unknown or not words:
        raise pytest.UsageError(
            f"INCEPTION_BACKENDS names {', '.join(unknown) or 'nothing'}, "
            f"but should name some of {', '.join(known)}"
        )
    return tuple(name for name in known if name in words)


# These compare all three frameworks with one another, in one process.
OF_ALL_THREE = (
    "packages/test_independent_networks.py",
    "packages/test_losses.py",
    "packages/test_networks_natively.py",
    "packages/test_pools.py",
)
collect_ignore = [] if {"pt", "tf", "mx"} <= set(chosen_backends()) else [*OF_ALL_THREE]


MOST_MEMORY = 6 << 30  # bytes of one process, between two files
NEVER = 1 << 30  # as often as the youngest objects are collected


def pytest_configure(config: pytest.Config) -> None:
    """Leave the oldest garbage to `release_networks` in a quick run, which builds few networks."""
    if config.option.markexpr == "not slow":
        youngest, middle, _ = gc.get_threshold()
        gc.set_threshold(youngest, middle, NEVER)


def memory() -> float:
    """Return the memory that this process has now, in bytes; infinite where nothing tells."""
    try:
        pages = Path("/proc/self/statm").read_text().split()[1]
    except OSError:
        return math.inf
    return int(pages) * os.sysconf("SC_PAGESIZE")


@functools.cache
def _adapter_or_error(name: str, device: str) -> Adapter | UnavailableError:
    try:
        return adapter(name, device)
    except UnavailableError as error:
        return error


def loaded_adapter(name: str, device: str = "cpu") -> Adapter:
    """Return an adapter; a missing GPU skips the test, a missing framework fails it."""
    if name not in chosen_backends():
        pytest.skip(f"{name} is not among INCEPTION_BACKENDS")
    on_cpu = _adapter_or_error(name, "cpu")
    if isinstance(on_cpu, UnavailableError):
        pytest.fail(f"{name} was chosen, but can't be loaded: {on_cpu}", pytrace=False)
    found = on_cpu if device == "cpu" else _adapter_or_error(name, device)
    if isinstance(found, UnavailableError):
        pytest.skip(str(found))
    return found


def pytest_report_header() -> list[str]:
    versions = []
    for name in SHOWN:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    left_out = (
        ""
        if catalogue.mxnet_has_wheel()
        else " (mx left out: MXNet has no wheel for this platform)"
    )
    return [
        f"backends under test: {', '.join(chosen_backends())}{left_out}",
        *(f"left out, since it needs pt, tf and mx: {name}" for name in collect_ignore),
        f"versions: {', '.join(versions)}",
    ]


@pytest.hookimpl(tryfirst=True)  # before pytest chooses by `-m`
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    mark_slow(items)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrise tests that take a backend, a framework, a network, a dtype or a device."""
    backends = chosen_backends()
    cells = {
        "backend": backends,
        "framework": tuple(name for name in backends if name != catalogue.ORACLE),
        "network": tuple(catalogue.NETWORKS),
        "dtype": ("float64", "float32"),  # which every framework has
        "device": DEVICES,
    }
    marked: set[str] = set()
    for mark in metafunc.definition.iter_markers("parametrize"):
        names = mark.args[0]
        marked.update(names.replace(",", " ").split() if isinstance(names, str) else names)
    for name, values in cells.items():
        if name in metafunc.fixturenames and name not in marked:
            metafunc.parametrize(name, values)


@pytest.fixture
def load_adapter() -> Callable[..., Adapter]:
    return loaded_adapter


@pytest.fixture(scope="module", autouse=True)
def release_networks() -> Iterator[None]:
    """Release the networks that a file's tests have built: all together don't fit in memory.

    TensorFlow takes half a minute to destroy some files' graphs, so garbage is only collected
    when the process has grown; until then it is frozen, else the collector goes through it again
    and again.
    """
    yield
    forget_networks()
    if memory() > MOST_MEMORY:
        gc.unfreeze()
        gc.collect()
    gc.freeze()


@pytest.fixture
def float64_in_keras() -> Iterator[None]:
    from inception_parity.backends.tf import precision

    with precision("float64"):
        yield


@pytest.fixture(autouse=True)
def keras_settings_are_restored() -> Iterator[None]:
    """Fail a test that leaves Keras with another dtype: a later one would build with it.

    Reading the policy while only floatx is changed makes it the policy for good.
    """
    yield
    if "keras" in sys.modules:
        import keras

        left = keras.config.floatx(), keras.config.dtype_policy().name
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy("float32")
        assert left == ("float32", "float32"), f"left Keras with floatx and policy {left}"


@pytest.fixture(scope="session")
def oracle_trace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Case], object]]:
    """Return a cached function from a case to the oracle's trace."""
    folder: Path = tmp_path_factory.mktemp("oracle")
    made: dict[Case, object] = {}

    def get(case: Case) -> object:
        if case not in made:
            made[case] = trace_of(adapter("np"), case, "float64", folder / str(len(made)))
        return made[case]

    yield get
    made.clear()
