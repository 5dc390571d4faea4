"""k-means of many numbers of clusters and seeds on the same samples at once: seeding, Lloyd's iterations, searches."""
