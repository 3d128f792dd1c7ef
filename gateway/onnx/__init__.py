"""Model files and ONNX Runtime sessions; the only folder that imports onnxruntime."""
