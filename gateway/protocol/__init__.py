"""The Open Inference Protocol as Python sees it: its messages, and tensors to and from bytes."""
