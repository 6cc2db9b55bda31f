"""Kill, stop and break parts of real nodes, and see everything come back."""
