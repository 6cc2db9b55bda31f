"""``springline invite`` and ``springline join``: one way to show a pairing, in a terminal.

The rule: what the other device is called and the six digits to compare are always shown on both sides; who wants to be
asked before anything is stored says ``--confirm``. With ``--json`` there is one JSON value, at the end, and what people
need meanwhile goes to standard error; a script gets the words from ``--invitation-file``.
"""

from __future__ import annotations

import json as jsonlib
import os
import select
import stat
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.style import Style
from rich.text import Text

from springline.actors.inviting import Invitation
from springline.cli.console import err, failures_told, is_terminal, out, print_json
from springline.cli.options import DEFAULT_DIR, DataDir, Json
from springline.cli.views import clock, paired_json
from springline.control import Control
from springline.errors import Misuse
from springline.events import PairingEnded, PairingProgress, PairingStage
from springline.protocols.pairing.ui import PairingUI
from springline.store.devices import PairedDevice

BLACK_ON_WHITE = Style(color="#000000", bgcolor="#ffffff")

Confirm = Annotated[bool, typer.Option("--confirm", help="Ask, when the other device is known, before it is stored.")]


def invite(
    data_dir: DataDir = DEFAULT_DIR,
    wait: Annotated[bool, typer.Option("--wait", help="Show how it goes, until paired or expired.")] = False,
    confirm: Confirm = False,
    invitation_file: Annotated[
        Path | None, typer.Option(help="With --wait, write the invitation there first, as one line of JSON.")
    ] = None,
    qr: Annotated[bool | None, typer.Option("--qr/--no-qr", help="Show a QR code. [default: on a terminal]")] = None,
    json: Json = False,
) -> None:
    """Twelve words for one other device to join with; good once, for five minutes."""
    with failures_told(), Control(data_dir) as node:
        if not wait and (confirm or invitation_file):
            raise Misuse("--confirm and --invitation-file need --wait", "without it nobody is there to be asked")
        ui = TerminalUI(err if json else out, qr, node.listening_at().port, invitation_file)
        if wait:
            device = node.invite_with(ui, confirm=confirm)
            if json:
                print_json({**invitation_json(ui.invitation), "device": paired_json(device), **ui.result})
        elif json:
            print_json(invitation_json(node.invite()))
        else:
            ui.invited(node.invite())


def join(
    context: typer.Context,
    data_dir: DataDir = DEFAULT_DIR,
    address: Annotated[str | None, typer.Option(help="HOST:PORT of the inviting device, if it is not found.")] = None,
    confirm: Confirm = False,
    json: Json = False,
) -> None:
    """Pair with the device that gave the invitation. Words or URI come from standard input or a prompt.

    With --confirm they are the first line of it, and the answer is the second.
    """
    with failures_told():
        if context.args:
            raise Misuse("others can see what a command is given", "run 'springline join' alone; it asks for the words")
    with failures_told(), Control(data_dir) as node:
        ui = TerminalUI(err if json else out)
        device = node.join_with(ui, _words(confirm).strip(), address, confirm=confirm)
        if json:
            print_json({**paired_json(device), **ui.result})


def _words(one_line: bool) -> str:
    if is_terminal(sys.stdin):
        asked: str = typer.prompt("Twelve words or URI", err=True)
        return asked
    if sys.stdin is None:
        raise Misuse("standard input is closed", "the words are read from it")
    return sys.stdin.readline(4096) if one_line else sys.stdin.read(4096)


def invitation_json(invitation: Invitation | None) -> dict[str, Any]:
    """An invitation, for scripts."""
    if invitation is None:
        return {}
    return {"words": invitation.words, "uri": invitation.uri, "expires_at": invitation.expires_at.isoformat()}


class TerminalUI(PairingUI):
    """A pairing as lines on ``console``.

    :param qr: whether to show a QR code; None: if it is a terminal. :param port: where this device listens.
    :param file: where to write the invitation for a script.
    """

    def __init__(self, console: Console, qr: bool | None = False, port: int = 0, file: Path | None = None) -> None:
        self._console = console
        self._qr = console.is_terminal if qr is None else qr
        self._port = port
        self._file = file
        self.invitation: Invitation | None = None
        self.result: dict[str, Any] = {}
        """For scripts: the digits, and whether an existing pairing was renewed."""

    def invited(self, invitation: Invitation) -> None:
        """The words, the QR code and the URI; the words go nowhere but where they are wanted."""
        self.invitation = invitation
        if self._file is not None:
            _write_private(self._file, jsonlib.dumps(invitation_json(invitation)) + "\n")
            return
        say = self._console.print
        say("On the other device, run [bold]springline join[/] and give it these words, or the URI:\n")
        say(f"  [bold cyan]{invitation.words}[/]\n")
        if self._qr:
            show_qr(self._console, invitation.uri)
        say(f"  {escape(invitation.uri)}\n", soft_wrap=True)
        say(f"Good once, until {clock(invitation.expires_at)}. On the same network the words are enough, and over the")
        say(f"internet with --bootstrap; elsewhere they need --address, and this device's port is {self._port}.")

    def progress(self, progress: PairingProgress) -> None:
        """The digits, once they are known; and callers that did not come through."""
        name = f"[bold]{escape(progress.name)}[/]"
        if progress.stage is PairingStage.SEARCHING:
            self._console.print("[dim]Looking for the device that gave these words.[/]")
        elif progress.stage is PairingStage.MET:
            known = "" if progress.known is None else f", paired before and now {progress.known.value}"
            self._console.print(f"It is {name}{known}.")
            self._console.print(f"It must show the same digits:  [bold cyan]{progress.sas}[/]")
        elif progress.stage is PairingStage.AGREED:
            self._console.print("[dim]Waiting for the other side.[/]")
        elif progress.stage is PairingStage.BROKEN_OFF:
            self._console.print(f"[yellow]A caller did not come through:[/] {escape(progress.reason)}")

    def confirm(self, progress: PairingProgress) -> bool:
        """Ask on the terminal; silence is a no."""
        until = progress.until or datetime.now(UTC)
        self._console.print(f"Does it? Pair with [bold]{escape(progress.name)}[/]? \\[y/N] ", end="")
        answer = _line_before(until)
        if answer is None:
            self._console.print()
        return (answer or "").strip().lower() in ("y", "yes")

    def paired(self, device: PairedDevice, ended: PairingEnded) -> None:
        """The result."""
        renewed = ended.known is not None
        self.result = {"sas": ended.sas, "renewed": renewed}
        what = "renewed the pairing with" if renewed else "paired with"
        self._console.print(f"[green]✓[/] {what} [bold]{escape(device.info.name)}[/]  {device.info.device_id}")


def show_qr(console: Console, text: str) -> None:
    """Print ``text`` as a QR code, or say why not."""
    from springline.cli.qr import half_blocks, modules_of

    modules = modules_of(text)
    if not console.encoding.lower().startswith("utf"):
        return  # no blocks to draw with
    if len(modules) > console.width:
        console.print(f"[dim](The QR code needs a terminal of {len(modules)} columns.)[/]\n")
        return
    coloured = console.color_system is not None and not console.no_color
    for line in half_blocks(modules, ink_is_dark=coloured):
        console.print(Text(line, BLACK_ON_WHITE if coloured else ""), no_wrap=True, overflow="ignore", crop=False)
    console.print()


def _line_before(until: datetime) -> str | None:
    """A line from standard input, or None if none comes in time. A pipe holds it already, or will say that it ends."""
    if is_terminal(sys.stdin):
        left = (until - datetime.now(UTC)).total_seconds()
        if not select.select([sys.stdin], [], [], max(0.0, left))[0]:
            return None
    return sys.stdin.readline(80)


def _write_private(path: Path, text: str) -> None:
    """Write a file, or into a pipe, that nobody else may read."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            os.fchmod(file.fileno(), 0o600)
        file.write(text)
