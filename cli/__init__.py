"""The command line: ``springline``. Each command is a thin question to a node; ``app.py`` lists them."""

from __future__ import annotations


def main() -> None:
    """The console script's entry point."""
    from springline.cli.app import run

    run()
