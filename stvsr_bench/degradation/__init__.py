"""Degradations: how low-quality clips are made from ground truth."""
