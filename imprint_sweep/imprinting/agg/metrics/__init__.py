"""How a query and a proxy are compared, a metric a file."""
