"""RIFE: interpolation at any time from intermediate flow, by the published network 4.0."""

from stvsr_bench.methods.rife.method import Rife

__all__ = ["Rife"]
