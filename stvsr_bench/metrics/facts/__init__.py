"""The metrics that ship with the package, by family; free of torch, so that listing them stays instant."""
