"""Every limit of the engine: what is rounding, and what is a mistake.

Differences are relative L2 unless another measure is named.
"""

from __future__ import annotations

# A check, a conversion, or two models, layer by layer.

LIMIT_FLOAT64 = 1e-10  # correct runs stay near 1e-14

# In floors, both modes, every dtype below float64. Fixed on clean runs before any
# fault was planted: docs/noise-floors.md shows them.
LIMIT_FLOORS = 16.0
SUSPICION = 4.0  # up to so many limits a difference may still be an unlucky rounding

# Of a converted file's logits in float32, relative to the largest of them; measured, at most 1e-5.
LIMIT_CONVERTED_LOGITS = 1e-3

# Of two models in float32 where the reference is in float32 too, and so no floor can be
# measured: four times the most by which two correct float32 runs of a network of 189
# layers were seen to differ (2.6e-4).
LIMIT_MODELS_FLOAT32 = 1e-3

# Of named arrays from anywhere, by the coarser dtype of a pair. Nothing is known of what computed
# them: float32 has the limit of two models without a floor, the narrower dtypes 32 roundoffs.
LIMIT_TENSORS = {
    "float64": LIMIT_FLOAT64,
    "float32": LIMIT_MODELS_FLOAT32,
    "float16": 2.0**-6,
    "bfloat16": 2.0**-3,
}

# Training, in float64 only.

LIMIT_TRAINING_STEP = 1e-10  # one step
# A gradient may differ by so many times what a last digit in each weight does to the oracle's
# derivatives, if that is more than LIMIT_TRAINING_STEP: batch norm over few values that are nearly
# equal loses digits, whoever computes it. GoogLeNet's clean runs stay below 4 times.
LIMIT_GRADIENT_NOISES = 64.0
MOST_GRADIENT_NOISE = 1e-8
# The same for two models of which a layer computes in float32 inside: reactions to float32's
# rounding are 2^28 times larger; this still finds a momentum, a rate or a scale that is 0.1% off.
MOST_GRADIENT_NOISE_FLOAT32 = 1e-4
# After one step an array may also be LIMIT_GRADIENT_NOISES times as far apart as another last digit
# in each weight takes it from itself; clean runs of InceptionV2, V4 and the residual networks stay
# below 10 times. But only while that distance is little. PyTorch's gradients of InceptionV4 were up
# to 3e-5 from themselves without any ReLU that had chosen differently.
MOST_PERTURBED_FIRST = 1e-6
# After more steps the limit is as many times how far a backend gets from itself when it begins with
# another last digit in each weight; clean runs stay below 7 times. But only while that is little:
# from 7e-7 on, gradients were up to 5e-1 apart in clean runs, since a ReLU or a max pool had chosen
# differently in one of them. Then rounding alone has driven them apart, and nothing can be judged.
MOST_PERTURBED = 1e-8
