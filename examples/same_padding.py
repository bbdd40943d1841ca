"""`padding="same"` in the stem, as in d2l's Keras tab: the check names the layer and the cause.

python examples/same_padding.py 96     # the default: 8% of the logits, found at b1.0.conv
python examples/same_padding.py 97     # odd: SAME pads alike on both sides, and nothing differs
"""

import sys
import tempfile
from pathlib import Path

from keras import layers
from rich.console import Console

from inception_parity.backends import Job, adapter, loaded, record
from inception_parity.comparison.comparing import compare
from inception_parity.data import images
from inception_parity.diagnosis.traces import diagnose_trace
from inception_parity.report.terminal import show_report
from inception_parity.traces import seeding

size = int(sys.argv[1]) if len(sys.argv) > 1 else 96
shared = seeding.seeded("googlenet", {"in_channels": 3}, seed=0)
batch = images.load(images.photographs(), (size, size), channels=3)
job = Job("googlenet", shared.options, "float64")

with tempfile.TemporaryDirectory() as folder:
    np_backend, tf_backend = adapter("np"), adapter("tf")
    oracle_net = loaded(np_backend, job, shared.arrays)
    oracle = record(np_backend, oracle_net, job, batch, shared.arrays, Path(folder) / "np")

    net = loaded(tf_backend, job, shared.arrays)
    stem = net.b1.layers[0].conv
    same = layers.Conv2D(64, 7, strides=2, padding="same", dtype="float64")
    same.build((None, None, None, 3))
    same.set_weights(stem.get_weights())
    stem.call = same.call
    trace = record(tf_backend, net, job, batch, shared.arrays, Path(folder) / "tf")

    report = compare(trace, oracle)
    diagnosis = diagnose_trace(report, trace, oracle, shared.arrays)
    show_report(Console(width=110), report, diagnosis)
