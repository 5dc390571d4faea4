"""What runs tell is printed, so that tests can read it."""

from tests.printed import printed

__all__ = ["printed"]
