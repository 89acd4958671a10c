"""Building blocks shared by methods and metrics: warping, flow consistency, window and tile planning."""
