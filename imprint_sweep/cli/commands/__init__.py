"""The commands beside the main one; each has a script in a checkout and a console entry point in a wheel."""
