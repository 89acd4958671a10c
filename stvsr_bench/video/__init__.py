"""Clips, reading (frame folders, decord, PyAV), lossless and lossy writing, colour conversion."""
