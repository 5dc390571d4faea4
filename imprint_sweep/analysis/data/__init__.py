"""The results table as the analysis reads it, and the paper's numbers beside it."""
