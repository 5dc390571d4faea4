"""Reading and writing files that others use at the same time."""
