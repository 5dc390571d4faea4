"""NORM: of training embeddings, proxies and queries (section 3.1 of the paper), a norm a file."""
