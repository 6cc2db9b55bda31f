"""Which of the ways in and out work, and what would help: ``springline doctor``."""
