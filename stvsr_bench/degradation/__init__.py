"""Degradations: MATLAB-compatible resizing and the pipelines that make LQ frames from GT frames."""
