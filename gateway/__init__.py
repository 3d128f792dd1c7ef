"""onnx-gateway serves ONNX models over the Open Inference Protocol on gRPC."""

__version__ = "0.1.0"
