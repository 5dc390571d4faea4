"""Numbers made from results: ranks and tests, curves, neural collapse."""
