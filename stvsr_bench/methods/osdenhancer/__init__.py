"""OSDEnhancer: one-step space-time super-resolution by a video diffusion transformer."""

from stvsr_bench.methods.osdenhancer.method import OSDEnhancer

__all__ = ["OSDEnhancer"]
