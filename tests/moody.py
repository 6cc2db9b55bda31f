"""A protocol handler with every bad habit."""

from __future__ import annotations

import os
import time
from uuid import UUID

from springline.protocols.handler import ProtocolHandler
from springline.protocols.message import Custom, DeviceMessage


class Moody(ProtocolHandler):
    """Does what the payload says: raise, hang, exit, or answer with its pid."""

    protocol = "moody"

    def handle(self, device: UUID, message: DeviceMessage) -> DeviceMessage | None:
        assert isinstance(message, Custom)
        match message.payload:
            case b"raise":
                raise RuntimeError("in a mood")
            case b"hang":
                time.sleep(3600)
            case b"exit":
                os._exit(3)
        return Custom("moody", 1, b"%d" % os.getpid())
