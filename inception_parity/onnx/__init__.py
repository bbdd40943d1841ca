"""ONNX files: networks written from the oracle's graph, read back, and run.

Writing and reading share nothing but the seal, and neither needs a framework.
"""
