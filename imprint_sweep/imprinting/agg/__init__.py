"""AGG: from proxies and queries to labels (section 3.1 of the paper)."""
