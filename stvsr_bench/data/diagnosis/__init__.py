"""Comparing outputs with their ground truth for faults of the pipeline: shifts, timing, colour, lossy coding."""
