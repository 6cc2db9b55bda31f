"""The actors: the bus between processes, the shells they are made of, and one file for each."""
