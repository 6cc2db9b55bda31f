"""The commands of ``springline``, on one page. Each is one function: options in, a question to the node, an answer out.

The rule: a command's module knows nothing of this one. What ``--help`` shows, and in which order, is said here.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable
from typing import Annotated

import typer

from springline import __version__
from springline.cli import dht, doctor, keys, links, pairing, running, trail, trust, tune, why
from springline.cli.console import out, tell_warnings

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

Command = Callable[..., None]

COMMANDS: dict[str, tuple[Command, ...]] = {
    "This node": (
        running.init, running.up, running.status, running.events, doctor.doctor, dht.dht, running.demo,
    ),
    "Pairing and trust": (pairing.invite, pairing.join, trust.trust, trust.revoke, trust.approve),
    "Paired devices": (
        links.devices, links.connect, links.disconnect, links.message, links.send, why.why, trail.history, tune.tune,
    ),
    "Keys and records": (keys.export_, keys.import_, trail.audit),
}  # fmt: skip

for _part, _commands in COMMANDS.items():
    for _command in _commands:
        _settings = {"allow_extra_args": _command is pairing.join}  # which says itself why it takes no words
        app.command(_command.__name__.strip("_"), rich_help_panel=_part, context_settings=_settings)(_command)
app.add_typer(keys.passphrase_app, name="passphrase", rich_help_panel="Keys and records")


def run() -> None:
    """Parse the command line and run one command."""
    with contextlib.suppress(ValueError):  # a closed pipe on our output ends us quietly, as it does every tool
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    tell_warnings()
    app()


def _tell_version(wanted: bool) -> None:
    if wanted:
        out.print(__version__)
        raise typer.Exit


@app.callback()
def springline(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", is_eager=True, callback=_tell_version)
    ] = False,
) -> None:
    """Keeps paired devices connected. Pair once with twelve words; whatever breaks comes back by itself."""
