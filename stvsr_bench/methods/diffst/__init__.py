"""DiffST: space-time super-resolution in one step of a video diffusion model (built from its paper)."""

from stvsr_bench.methods.diffst.method import DiffST

__all__ = ["DiffST"]
