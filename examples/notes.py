"""A plug-in: devices leave each other notes. The whole protocol is this one class."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from springline import Custom, DeviceMessage, ProtocolHandler


class Notes(ProtocolHandler):
    """Keeps every note it gets in a file, and answers with how many there are."""

    protocol = "notes"

    def begin(self, args: Any) -> None:
        self.path = args

    def handle(self, device: UUID, message: DeviceMessage) -> DeviceMessage | None:
        if not isinstance(message, Custom):
            return None
        with open(self.path, "ab+") as file:
            file.write(message.payload + b"\n")
            file.seek(0)
            count = len(file.readlines())
        return Custom("notes", 1, b"%d" % count)
