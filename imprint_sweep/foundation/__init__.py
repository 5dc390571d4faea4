"""From images to embeddings: datasets, frozen foundation models, extraction."""
