"""ONNX Runtime sessions and the workers that run them."""
