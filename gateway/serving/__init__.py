"""The serving process: everything a request passes, from the socket to ONNX Runtime and back."""
