"""The arithmetic of the metrics, on tensors; the classes beside this folder only stream it."""
