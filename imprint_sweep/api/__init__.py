"""What a notebook calls: embeddings as arrays, and the classifier of a cell."""
