"""The stages of a cell, one module each: pure functions on arrays that never change their inputs.

No configuration, path, log or global state. What they return depends on the values they are given, never on the number
of threads or on what was computed before, provided that the caller limits BLAS and OpenMP to one thread.
"""
