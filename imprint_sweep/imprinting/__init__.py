"""What a cell computes: components (GEN, NORM, metrics, weightings), a file each, and the stages between them."""
