"""RIFE: interpolation from intermediate flow, by the published network 4.0 and by those of the paper."""

from stvsr_bench.methods.rife.method import Rife

__all__ = ["Rife"]
