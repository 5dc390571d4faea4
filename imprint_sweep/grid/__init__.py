"""Which cells: what a cell is, its identity, what equals it by construction, and the tasks of a grid."""
