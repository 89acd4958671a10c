"""Metrics: functional arithmetic and one streaming class per metric.

``catalog`` says which exist and ``result`` what they return (both torch-free), ``base`` what a metric is.
"""
