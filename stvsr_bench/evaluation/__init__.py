"""Evaluation: plan, restore, score, store."""
