"""Metrics: functional arithmetic and one streaming class per metric."""
