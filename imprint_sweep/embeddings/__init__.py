"""The cache of embeddings, the rows of a label, and importing."""
