"""GEN: from the samples of a class to its proxies (section 3.1 of the paper), a generator a file."""
