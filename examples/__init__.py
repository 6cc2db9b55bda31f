"""Examples that run, and are run as tests: a core app, a plug-in, a supervision tree of one's own."""
