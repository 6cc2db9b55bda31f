"""Makes what the pages show of the code from the code: ``python -m springline.docs``, or ``make docs``."""
