"""What the commands of ``springline`` take: the options and arguments that several have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import platformdirs
import typer

DEFAULT_DIR = Path(platformdirs.user_data_dir("springline", appauthor=False))

DataDir = Annotated[
    Path, typer.Option("--data-dir", envvar="SPRINGLINE_DATA_DIR", help="Where this device's identity is kept.")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON value on standard output.")]
PassphraseFile = Annotated[Path | None, typer.Option("--passphrase-file", help="Read the passphrase from this file.")]
NoPassphrase = Annotated[bool, typer.Option("--no-passphrase", help="Have none: who reads the files has the keys.")]
Device = Annotated[str, typer.Argument(help="Id, unique prefix of an id, or name.", metavar="DEVICE")]
