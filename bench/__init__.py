"""What springline costs and how fast it comes back: ``python -m springline.bench``, or ``make bench``."""
