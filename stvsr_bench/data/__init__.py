"""Datasets: layout detection, protocols, the built-in demo clips."""
