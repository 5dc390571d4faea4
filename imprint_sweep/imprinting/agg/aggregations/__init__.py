"""How compared proxies become a label, an aggregation a file."""
