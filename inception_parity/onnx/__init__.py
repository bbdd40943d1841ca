"""ONNX files: a network written whole, read back, and run."""
