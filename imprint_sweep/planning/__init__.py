"""From a request to a plan: distinct cells, what is pending, shards and their cost."""
