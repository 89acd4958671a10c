"""A plug-in of stvsr-bench; nothing here is heavy to import."""
