"""Degradations: MATLAB-compatible resizing and the named recipes that make LQ frames from GT frames."""
