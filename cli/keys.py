"""The keys of this device: ``springline passphrase``, ``export`` and ``import``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from springline.cli import oskeyring
from springline.cli.console import err, failures_told, out, print_json
from springline.cli.options import DEFAULT_DIR, DataDir, Json, NoPassphrase, PassphraseFile
from springline.cli.passphrase import existing_passphrase, first_passphrase, new_passphrase, present_passphrase
from springline.errors import LocalFault, Misuse
from springline.store import atomic, config
from springline.store.layout import Layout
from springline.store.moving import MOST_BYTES

passphrase_app = typer.Typer(no_args_is_help=True, help="The passphrase: change it, keep it in the keyring, forget it.")

TWO_COPIES = "One device, one place: don't run both. The two would take each other's links."


# -- passphrase ----------------------------------------------------------------------------------------------------


@passphrase_app.command()
def change(
    data_dir: DataDir = DEFAULT_DIR,
    passphrase_file: PassphraseFile = None,
    new_passphrase_file: Annotated[Path | None, typer.Option(help="Read the new passphrase from this file.")] = None,
    no_passphrase: NoPassphrase = False,
    json: Json = False,
) -> None:
    """Lock the store with another passphrase, whether the node runs or not; links stay up."""
    from springline.upkeep import change_passphrase

    with failures_told(), present_passphrase(data_dir, passphrase_file) as present:
        if no_passphrase and new_passphrase_file:
            raise Misuse("a new passphrase and none are both wanted", "choose one")
        change_passphrase(data_dir, present, None if no_passphrase else lambda: new_passphrase(new_passphrase_file))
        if no_passphrase:
            warn_of_none(data_dir)
        dropped = _drop_entry(data_dir)
        if json:
            print_json({"passphrase": "none" if no_passphrase else "changed", "keyring_entry_removed": dropped})
        else:
            out.print("[green]✓[/] the passphrase is " + ("gone" if no_passphrase else "changed"))
            if dropped:
                out.print("The keyring had the former one and has none now; 'passphrase keep' makes an entry.")


def _drop_entry(data_dir: Path) -> bool:
    """What the keyring has is not the passphrase any more."""
    device = config.load(Layout(data_dir)).device_id
    try:
        return oskeyring.has(device) and oskeyring.forget(device)
    except LocalFault as error:
        err.print(f"[yellow]The keyring still has the former passphrase:[/] {escape(error.message)}")
        return False


@passphrase_app.command()
def keep(data_dir: DataDir = DEFAULT_DIR, passphrase_file: PassphraseFile = None, json: Json = False) -> None:
    """Keep the passphrase in the system's keyring, so that 'up' need not ask for it."""
    from springline.upkeep import check_passphrase

    with failures_told(), present_passphrase(data_dir, passphrase_file) as present:
        if present.is_none:
            raise Misuse("there is no passphrase to keep")
        given = present.ask()
        try:
            check_passphrase(data_dir, bytearray(given))  # a wrong one would only be found out at the next start
            oskeyring.keep(config.load(Layout(data_dir)).device_id, given)
        finally:
            given[:] = bytes(len(given))
        print_json({"kept": True}) if json else out.print("[green]✓[/] kept in the keyring")


@passphrase_app.command()
def forget(data_dir: DataDir = DEFAULT_DIR, json: Json = False) -> None:
    """Remove the passphrase from the system's keyring."""
    with failures_told():
        was_there = oskeyring.forget(config.load(Layout(data_dir)).device_id)
        if json:
            print_json({"forgotten": was_there})
        else:
            out.print("[green]✓[/] removed from the keyring" if was_there else "There is none in the keyring.")


def warn_of_none(data_dir: Path) -> None:
    """Say what it means to have no passphrase."""
    where = escape(str(data_dir))
    err.print(f"[yellow]There is no passphrase: whoever can read {where} is this device.[/]", soft_wrap=True)


# -- moving --------------------------------------------------------------------------------------------------------

OF_EXPORT, EXPORT_OPTION = "Passphrase of the exported file", "--export-passphrase-file"

ExportPassphraseFile = Annotated[
    Path | None, typer.Option(help="Read the exported file's passphrase from this file.", show_default=False)
]


def export_(
    path: Annotated[Path, typer.Argument(help="The file to make.", metavar="PATH")],
    data_dir: DataDir = DEFAULT_DIR,
    passphrase_file: PassphraseFile = None,
    export_passphrase_file: ExportPassphraseFile = None,
    force: Annotated[bool, typer.Option("--force", help="Replace PATH if it exists.")] = False,
    json: Json = False,
) -> None:
    """This device's identity as one sealed file: 'springline import' elsewhere, and nobody has to pair again."""
    from springline.upkeep import export_identity

    with failures_told(), present_passphrase(data_dir, passphrase_file) as present:
        if path.exists() and not force:
            raise Misuse(f"{path} exists", "choose another name, or --force")
        made = export_identity(
            data_dir, present, lambda: new_passphrase(export_passphrase_file, OF_EXPORT, EXPORT_OPTION)
        )
        atomic.publish(path, made.sealed, replace=force)
        if json:
            print_json({"path": str(path), "devices": made.devices, "incomplete": list(map(str, made.incomplete))})
        else:
            out.print(f"[green]✓[/] exported with {made.devices} paired devices to {escape(str(path))}")
        for device in made.incomplete:
            err.print(f"[yellow]{device} will have to be paired again: a file of it is damaged.[/]")
        err.print(f"[yellow]{TWO_COPIES}[/]", soft_wrap=True)


def import_(
    path: Annotated[Path, typer.Argument(help="The exported file.", metavar="PATH")],
    data_dir: DataDir = DEFAULT_DIR,
    name: Annotated[str, typer.Option(help="What other devices show. [default: as it was]")] = "",
    passphrase_file: PassphraseFile = None,
    no_passphrase: NoPassphrase = False,
    export_passphrase_file: ExportPassphraseFile = None,
    seed: Annotated[bool, typer.Option("--seed", help="PATH is of the former format; pair again after it.")] = False,
    json: Json = False,
) -> None:
    """Make this device of an exported identity, sealed with a passphrase of its own; instead of 'init'."""
    from springline.upkeep import import_identity

    with failures_told():
        sealed = _read_export(path)
        info = import_identity(
            data_dir,
            sealed,
            lambda: existing_passphrase(export_passphrase_file, OF_EXPORT, EXPORT_OPTION),
            None if no_passphrase else lambda: first_passphrase(passphrase_file),
            name,
            seed=seed,
        )
        if no_passphrase:
            warn_of_none(data_dir)
        if json:
            print_json({"device": {"id": str(info.device_id), "name": info.name}, "data_dir": str(data_dir)})
        else:
            out.print(f"[green]✓[/] {escape(info.name)} is [bold]{info.device_id}[/], kept in {escape(str(data_dir))}")
        hint = "'springline devices' shows whom to pair again." if seed else f"[yellow]{TWO_COPIES}[/]"
        err.print(hint, soft_wrap=True)


def _read_export(path: Path) -> bytes:
    if not path.is_file():
        raise Misuse(f"{path} is no file")
    if os.path.getsize(path) > MOST_BYTES:
        raise Misuse(f"{path} is too large for an exported identity")
    return atomic.read(path) or b""
