"""Who may import whom, held by a test; and what the package exports."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import springline

ROOT = Path(springline.__file__).parent
ABOVE = {"doctor", "node", "links", "control", "cli"}
FORBIDDEN = {
    "transport": {"store", "actors", "protocols", "supervisors", *ABOVE},
    "store": {"transport", "actors", "protocols", "supervisors", *ABOVE},
    "actors": {"protocols", "supervisors", *ABOVE},
    "protocols": {"supervisors", *ABOVE},
    "supervisors": ABOVE,
    "doctor": {"protocols", "node", "links", "control", "cli"},
}
THESPIAN = {"actors/addresses.py", "actors/bus.py", "actors/forking.py", "actors/shell.py"}


def modules() -> list[Path]:
    rooms = [ROOT / room for room in (*FORBIDDEN, "cli")]
    return [*ROOT.glob("*.py"), *(path for room in rooms for path in room.rglob("*.py"))]


def imported(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


@pytest.mark.parametrize("room", FORBIDDEN)
def test_rooms_import_only_what_is_below_them(room: str) -> None:
    for path in (ROOT / room).rglob("*.py"):
        rooms = {name.split(".")[1] for name in imported(path) if name.startswith("springline.")}
        assert not rooms & FORBIDDEN[room], f"{path.relative_to(ROOT)} imports {rooms & FORBIDDEN[room]}"


def test_the_engine_is_imported_in_few_places() -> None:
    users = {str(path.relative_to(ROOT)) for path in modules() if any(n.startswith("thespian") for n in imported(path))}
    assert users <= THESPIAN


def test_whoever_only_asks_a_node_does_without_the_engine() -> None:
    code = "import sys, springline.control; print(*sorted(name for name in sys.modules if name.startswith('thespian')))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.split() == []


def test_every_public_name_is_there() -> None:
    for name in springline.__all__:
        assert getattr(springline, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        springline.nonsense  # noqa: B018


def test_every_module_says_what_it_is_for() -> None:
    for path in modules():
        assert ast.get_docstring(ast.parse(path.read_text())), f"{path.relative_to(ROOT)} has no header"
