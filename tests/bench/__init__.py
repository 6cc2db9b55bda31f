"""That the benchmark still runs; its figures are not looked at."""
