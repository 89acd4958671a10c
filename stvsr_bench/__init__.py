"""stvsr-bench: run, score and compare methods of space-time video super-resolution."""

__version__ = "0.1.0"
