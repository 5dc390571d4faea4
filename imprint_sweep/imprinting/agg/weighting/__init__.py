"""How the votes of the nearest proxies are weighted, a weighting a file."""
