"""From the results table to tables, statistics and figures. Numbers first; pictures are drawn from them."""
