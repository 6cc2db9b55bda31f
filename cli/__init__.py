"""The command line: ``springline``. Each command is a thin question to a node; ``app.py`` lists them."""

from __future__ import annotations

import signal
import sys


def main() -> None:
    """The console script's entry point. Ctrl-C before a command has begun ends us, too, without a traceback."""
    told = signal.signal(signal.SIGINT, signal.SIG_DFL)
    from springline.cli.app import run

    signal.signal(signal.SIGINT, told)
    try:
        run()
    except KeyboardInterrupt:  # while what the commands take was being made up
        sys.exit(130)
