"""Leaderboard, statistics, tables and figures, all recomputed from run folders; importing it loads nothing heavy."""
