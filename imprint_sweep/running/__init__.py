"""Plan, launch, watch and end a sweep."""
