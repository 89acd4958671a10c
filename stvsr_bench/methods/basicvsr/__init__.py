"""BasicVSR: bidirectional recurrent super-resolution of whole clips, ×4."""

from stvsr_bench.methods.basicvsr.method import BasicVSR

__all__ = ["BasicVSR"]
