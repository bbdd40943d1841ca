"""Named arrays from anywhere, compared: an .npz, a folder of .npy files, a file of weights, a dict.

They may come from JAX, MLX, C++ or a debugger: nothing is known but names, order and values.
"""

from .comparing import TensorReport, compare_tensors
from .reading import Tensors, is_source, read, tensors_of

__all__ = ["TensorReport", "Tensors", "compare_tensors", "is_source", "read", "tensors_of"]
