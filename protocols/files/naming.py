"""A peer's file name is data, not a path.

The rule: one component, no separator, nothing that any file system takes for something else; whatever is not is
refused, not repaired, because a repaired name is a name nobody chose. What is written is opened below a directory
descriptor and never through a link. (CVE-2025-27142 and CVE-2026-42448 were both a name taken for a path.)
"""

from __future__ import annotations

import unicodedata

from springline.errors import Malformed

MOST_BYTES = 240
"""Bytes of UTF-8: less than the 255 of most file systems, because `` (999)`` may be added to tell namesakes apart."""

MOST_NUMBERED = 255
"""The same for a name that may have been numbered."""

_FORBIDDEN = set('/\\:*?"<>|')
_RESERVED = {"con", "prn", "aux", "nul", *(f"{name}{digit}" for name in ("com", "lpt") for digit in "123456789")}
_UNWANTED = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # not those unknown to this Python: a newer one may know them
_JOINERS = "\u200c\u200d"  # Persian words and many emoji are spelled with them


def checked_name(name: object, most: int = MOST_BYTES) -> str:
    """``name`` in normal form (NFC), of at most ``most`` bytes.

    :raises Malformed: it is not the name of a plain, visible file.
    """
    if not isinstance(name, str):
        raise Malformed("a file's name is not a text")
    name = unicodedata.normalize("NFC", name)
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise Malformed("a file's name is not Unicode") from None
    if not 0 < size <= most:
        raise Malformed("a file's name is empty or too long")
    if name.startswith(".") or name != name.strip() or name.endswith("."):
        raise Malformed("a file's name begins or ends with what hides or confuses")
    if any(c in _FORBIDDEN or (unicodedata.category(c) in _UNWANTED and c not in _JOINERS) for c in name):
        raise Malformed("a file's name has characters no file should have")
    if name.partition(".")[0].rstrip().lower() in _RESERVED:
        raise Malformed("a file's name means a device on some systems")
    return name


def numbered(name: str, number: int) -> str:
    """The name of the ``number``-th namesake: ``report (2).pdf``; 0 is the name itself."""
    if number == 0:
        return name
    stem, dot, ending = name.rpartition(".")
    return f"{stem} ({number}){dot}{ending}" if dot else f"{name} ({number})"
