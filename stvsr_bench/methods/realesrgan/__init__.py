"""Real-ESRGAN: its two networks, the official picture pipeline, and the method that restores videos frame by frame."""

from stvsr_bench.methods.realesrgan.method import RealEsrgan

__all__ = ["RealEsrgan"]
