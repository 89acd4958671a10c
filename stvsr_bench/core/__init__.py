"""Errors, registry, cards, hashing, seeding, atomic files and locks; imports neither torch nor Hydra."""
