"""The command line: ``springline``. Each command is a thin question to a node; ``app.py`` lists them."""

from __future__ import annotations

import signal


def main() -> None:
    """The console script's entry point. Ctrl-C while all the rest is being imported ends us, without a traceback."""
    told = signal.signal(signal.SIGINT, signal.SIG_DFL)
    from springline.cli.app import run

    signal.signal(signal.SIGINT, told)
    run()
