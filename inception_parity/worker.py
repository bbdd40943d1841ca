"""A backend in a process of its own: `python -m inception_parity.worker REQUEST.json`.

The request names the network, files of images and weights, and jobs; each job
leaves a trace's folder (or, for the oracle, a file of noise floors). What
became of it all is written to the request's result file, last. Needs NumPy and the
framework, nothing else, so that the interpreter may be anybody's.
"""

from __future__ import annotations

import errno
import gc
import json
import os
import shutil
import sys
import threading
import time
from pathlib import Path
from typing import Any

# What writing fails with when it is the place that is wrong, and not the program.
OUTPUT_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG)


def main(request_file: str) -> int:
    """Do what the request says.

    Returns:
        0, or EX_IOERR where the traces can't be written; the last line of the
        standard error says why.
    """
    request = json.loads(Path(request_file).read_text())
    threading.Thread(target=end_with_parent, args=[request["folder"]], daemon=True).start()
    result: dict[str, Any] = {"status": "ok", "message": "", "unsupported": {}}
    start = time.perf_counter()
    try:
        _work(request, result, start)
        result["seconds"] = time.perf_counter() - start
        result["peak_memory"] = _peak_memory()
        write_whole(Path(request["result"]), result)
    except OSError as error:
        if error.errno not in OUTPUT_ERRORS:
            raise
        print(f"{error.filename or request['folder']}: {error.strerror}", file=sys.stderr)
        return os.EX_IOERR
    return 0


def write_whole(file: Path, value: Any) -> None:
    """Write JSON by way of a neighbour, so that nobody reads half of it."""
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps(value))
    partial.replace(file)


def _work(request: dict[str, Any], result: dict[str, Any], start: float) -> None:
    import numpy as np

    from .backends import UnavailableError, adapter
    from .backends.libraries import library_adapter
    from .errors import InputError

    try:
        if "library" in request:
            file = Path(request["file"])
            backend = library_adapter(
                request["library"], request["device"], file, request["backend"]
            )
        else:
            backend = adapter(request["backend"], request["device"])
        result["import_seconds"] = time.perf_counter() - start
        if "race" in request:
            _race(backend, request)
            return
        images = np.load(request["images"])
        _run_jobs(request, result, backend, images)
    except UnavailableError as error:
        result.update(status="missing", message=str(error))
    except InputError as error:
        result.update(status="refused", message=str(error))


def _weights(request: dict[str, Any]) -> dict[str, Any]:
    """Return the weights as memory maps: all workers share the same pages."""
    import numpy as np

    files = sorted(Path(request["weights"]).glob("*.npy"))
    return {f.name.removesuffix(".npy"): np.load(f, mmap_mode="r") for f in files}


def _race(backend: Any, request: dict[str, Any]) -> None:
    from .training import racer

    racer.run(backend, request["race"], _weights(request))


def _run_jobs(request: dict[str, Any], result: dict[str, Any], backend: Any, images: Any) -> None:
    import numpy as np

    from .backends import Job, UnavailableError, loaded, record

    weights = _weights(request)
    net: Any = None
    loaded_as: tuple[str, dict[str, Any]] = ("", {})
    size, folder = (images.shape[2], images.shape[3]), Path(request["result"]).parent
    file = Path(request["onnx"]) if request.get("onnx") else None
    first = Job(request["network"], request["options"], "float32")
    backend.prepare(first, weights, size, folder, file)
    for job in request["jobs"]:
        oracle = _oracle(request) if job["mode"] in ("isolated", "floors") else None
        if job["mode"] == "floors":
            _measure_floors(request, job, images, weights, oracle)
            continue
        options = job.get("options", request["options"])
        endpoints = tuple(job.get("endpoints", ()))
        made = Job(request["network"], options, job["dtype"], job["mode"], endpoints)
        try:
            if "images" in job:
                images = np.load(job["images"])
            if net is None or (job["dtype"], options) != loaded_as:
                net, loaded_as = None, (job["dtype"], options)
                gc.collect()  # networks hold themselves in cycles; two at once is one too many
                net = loaded(backend, made, weights)
            if job["mode"] == "export":
                _export(request, job, backend, net, size)
            elif job["mode"] == "training":
                _train(backend, net, made, request, images, weights, Path(job["out"]))
            else:
                record(backend, net, made, images, weights, Path(job["out"]), oracle)
        except UnavailableError as error:
            result["unsupported"][job["dtype"]] = str(error)


def _export(
    request: dict[str, Any], job: dict[str, Any], backend: Any, net: Any, size: tuple[int, int]
) -> None:
    from .onnx import model_file

    origin = model_file.Origin(request["network"], request["options"], request["provenance"])
    model_file.write(backend, net, origin, size, Path(job["out"]))


def _train(
    backend: Any, net: Any, job: Any, request: dict[str, Any], images: Any, weights: Any, out: Path
) -> None:
    """Leave a training trace: a backend's of its steps, or what the oracle knows of the first."""
    from .training_check.trial import Trial

    trial = Trial.read(request["recipe"])
    if request["backend"] == "np":
        from .training_check.derivatives import record_oracle

        record_oracle(backend, net, job, trial, images, weights, out)
    else:
        from .training_check.steps import record_training

        counts = request["counts"]
        record_training(backend, net, job, trial, images, weights, counts, out)


def _oracle(request: dict[str, Any]) -> Any:
    """Wait for the oracle's trace, which another worker may be making, and read it."""
    from .traces.trace import Trace

    folder = Path(request["oracle"])
    while not folder.exists():  # the parent ends us if it never comes
        time.sleep(0.02)
    return Trace.read(folder)


def _measure_floors(
    request: dict[str, Any], job: dict[str, Any], images: Any, weights: Any, oracle: Any
) -> None:
    from .comparison import floors

    measured = floors.measure(
        request["network"], request["options"], images, weights, oracle, job["dtype"]
    )
    write_whole(Path(job["out"]), measured)


def end_with_parent(folder: str) -> None:
    """End this process when its standard input closes: the parent is gone.

    Nobody is left to read the traces, or to take them away.
    """
    while os.read(0, 4096):
        pass
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


def _peak_memory() -> int:
    """Return the most memory this process held, in bytes."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
