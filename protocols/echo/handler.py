"""The handler of ``echo``; also the shortest example of one."""

from __future__ import annotations

from uuid import UUID

from springline.protocols.handler import ProtocolHandler
from springline.protocols.message import DeviceMessage


class Echo(ProtocolHandler):
    """Answers every message with itself."""

    protocol = "echo"

    def handle(self, device: UUID, message: DeviceMessage) -> DeviceMessage:
        """The same again."""
        return message
