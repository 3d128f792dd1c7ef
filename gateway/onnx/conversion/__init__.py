"""Rewriting model files for `gateway convert`; the only folder that imports the package `onnx`."""
