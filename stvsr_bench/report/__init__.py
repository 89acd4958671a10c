"""Leaderboard, statistics, tables and figures."""
