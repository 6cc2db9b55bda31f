"""What the command line prints, and how it fails.

The rule: with ``--json`` standard output carries exactly one JSON value (``events``: one a line) and nothing else;
without it, what a person wants to see. Everything else, errors included, goes to standard error. Colours and bars
appear on terminals only; rich sees to that, and to ``NO_COLOR``. A pipe has no edge: there nothing is cut or wrapped.

Exit codes: 0 done · 1 failed, with one clear line · 2 misuse.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any, TextIO

import typer
from rich.console import Console
from rich.markup import escape

from springline.errors import Misuse, SpringlineError
from springline.events import as_json

NO_EDGE = 10_000
"""Columns of what is no terminal."""


def is_terminal(stream: TextIO | None) -> bool:
    """Whether somebody looks at ``stream``, or types there. It is None if it was closed before we began."""
    return stream is not None and stream.isatty()


out = Console(highlight=False, width=None if is_terminal(sys.stdout) else NO_EDGE)
err = Console(stderr=True, highlight=False, width=None if is_terminal(sys.stderr) else NO_EDGE)


def print_json(value: Any) -> None:
    """One JSON value, one line, to standard output."""
    print(json.dumps(as_json(value), ensure_ascii=False), flush=True)  # noqa: T201


class _Warnings(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        err.print(f"[yellow]springline: warning:[/] {escape(record.getMessage())}", soft_wrap=True)


def tell_warnings() -> None:
    """Say what this program itself warns of as a failure is said; a node's actors have a log of their own."""
    logging.basicConfig(level=logging.WARNING, handlers=[_Warnings()])


@contextlib.contextmanager
def failures_told() -> Iterator[None]:
    """Turn a :class:`SpringlineError` into one line on standard error and the exit code it deserves."""
    try:
        yield
    except SpringlineError as error:
        hint = f" [dim]({escape(error.hint)})[/]" if error.hint else ""
        err.print(f"[red]springline:[/] {escape(error.message)}{hint}", soft_wrap=True)
        raise typer.Exit(2 if isinstance(error, Misuse) else 1) from None
    except BrokenPipeError:
        sys.stderr.close()  # whoever read our output has had enough
        raise typer.Exit(0) from None
    except OSError as error:  # what the system says of a path that nobody could use
        where = f"{error.filename}: " if error.filename else ""
        err.print(f"[red]springline:[/] {escape(where + (error.strerror or str(error)).lower())}", soft_wrap=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
