"""``python -m springline``: the command line."""

from __future__ import annotations

from springline.cli import main

main()
