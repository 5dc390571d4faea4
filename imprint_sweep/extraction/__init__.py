"""From images to embeddings: networks, datasets, and the pass over them."""
