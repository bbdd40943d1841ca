"""Each package imports only its own framework, and the engine imports none."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

from inception_parity.networks import catalogue

ROOT = Path(__file__).parents[2]
PACKAGES = list(catalogue.PACKAGES)
FRAMEWORKS = ("torch", "tensorflow", "keras", "mxnet", "onnx", "onnxruntime", "jax")
MODULES = {"np": (), "pt": ("torch",), "tf": ("tensorflow", "keras"), "mx": ("mxnet",)}

BLOCKER = """
import sys

tried = []

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            tried.append(name)
            raise ModuleNotFoundError(f"{{name}} is blocked", name=name)

sys.meta_path.insert(0, Blocker())
"""


def python(code):
    """Run `code` in a separate interpreter and return what it prints."""
    found = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    return found.stdout


def engine_modules():
    """Return every module of the engine except those for one framework, which import it."""
    found = []
    for path in sorted((ROOT / "inception_parity").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        apart = parts[1] in ("backends", "onnx", "models")
        adapter = apart and parts[-1] in (*catalogue.BACKENDS, "running", "onnx_files")
        adapter = adapter or (parts[1:3] == ("backends", "libraries") and len(parts) == 4)
        if parts[-1] == "__init__":
            parts, adapter = parts[:-1], False
        if not adapter and parts[-1] != "__main__":
            found.append(".".join(parts))
    return found


def test_package_needs_neither_the_others_nor_the_engine(backend):
    package = catalogue.BACKENDS[backend].package
    blocked = {"inception_parity", *PACKAGES, "torch", "tensorflow", "keras", "mxnet"}
    blocked -= {package, *MODULES[backend]}
    if backend == "tf":
        blocked -= {"torch"}  # Keras checks whether it is installed
    code = BLOCKER.format(blocked=blocked) + f"import {package}; print({package}.GoogLeNet, tried)"
    assert python(code).strip() == f"<class '{package}.googlenet.GoogLeNet'> []"


def test_only_load_pretrained_names_the_engine():
    """A package's only import of the engine is optional, and happens only when it is called."""
    found = [
        f"{path.parent.name}/{path.name}"
        for package in PACKAGES
        for path in sorted((ROOT / package).glob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.Constant) and node.value == "inception_parity")
        or (isinstance(node, ast.ImportFrom) and (node.module or "").startswith("inception_parity"))
        or (isinstance(node, ast.Import) and "inception_parity" in ast.unparse(node))
    ]
    assert found == [f"{package}/pretrained.py" for package in PACKAGES]


def test_engine_loads_no_framework():
    code = f"""
import sys, importlib
for name in {engine_modules()!r}:
    importlib.import_module(name)
print(sorted({set(FRAMEWORKS)!r} & set(sys.modules)))
"""
    assert python(code).strip() == "[]"


def test_engine_needs_no_framework():
    code = (
        BLOCKER.format(blocked=set(FRAMEWORKS))
        + f"""
import importlib
for name in {engine_modules()!r}:
    importlib.import_module(name)
from inception_parity.traces import weights
from inception_parity.backends import adapter
print(adapter("np").name, len(weights.shapes("googlenet", {{}})) > 0)
"""
    )
    assert python(code).strip() == "np True"


def test_engine_modules_are_found():
    found = engine_modules()
    assert {"inception_parity", "inception_parity.backends.base"} <= set(found)
    assert "inception_parity.backends.pt" not in found


def test_missing_framework_is_named_with_what_installs_it(framework):
    info = catalogue.BACKENDS[framework]
    code = (
        BLOCKER.format(blocked=set(MODULES[framework]))
        + f"""
from inception_parity.backends import UnavailableError, adapter
try:
    adapter({framework!r})
except UnavailableError as error:
    print(error)
"""
    )
    text = python(code)
    assert text.startswith(f"{info.title}: ")
    assert text.strip().endswith(f"pip install 'inception-parity[{info.extra}]'")


def test_mxnet_beside_numpy_2_is_refused_with_what_to_do():
    code = """
import numpy
numpy.__version__ = "2.1.0"
from inception_parity.backends import UnavailableError, adapter
try:
    adapter("mx")
except UnavailableError as error:
    print(error)
"""
    text = python(code)
    assert "MXNet 1.9.1 needs numpy < 2, but numpy 2.1.0 is installed" in text


def test_missing_mxnet_is_missing_also_beside_numpy_2():
    code = (
        BLOCKER.format(blocked={"mxnet"})
        + """
import numpy
numpy.__version__ = "2.1.0"
from inception_parity.backends import UnavailableError, adapter
try:
    adapter("mx")
except UnavailableError as error:
    print(error)
"""
    )
    text = python(code)
    assert "mxnet" in text
    assert "pip install 'inception-parity[mxnet]'" in text
    assert "numpy < 2" not in text


def test_import_times_are_printed():
    """No limit here, since machines differ; `-rP` or `-s` shows the time."""
    code = """
import time; start = time.perf_counter(); import inception_parity
print(f"import inception_parity: {time.perf_counter() - start:.3f} s")
"""
    text = python(code)
    print(text)
    assert text.startswith("import inception_parity: ")
