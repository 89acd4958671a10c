"""DOVER: its network and its metrics."""
