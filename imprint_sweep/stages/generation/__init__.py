"""GEN: from the samples of a class to its proxies (section 3.1 of the paper), one family of generators a module."""
