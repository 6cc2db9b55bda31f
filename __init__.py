"""springline: keeps paired devices connected.

Two devices are paired once, with twelve words. From then on they find each other, connect, and stay connected; whatever
breaks comes back by itself. Start with :class:`Node`; ``README.rst`` shows how.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from springline.actors.finding import Discovery as Discovery
    from springline.control import Control as Control
    from springline.node import Node as Node
    from springline.protocols.handler import ProtocolHandler as ProtocolHandler
    from springline.protocols.message import Custom as Custom
    from springline.protocols.message import DeviceMessage as DeviceMessage
    from springline.protocols.pairing.ui import PairingUI as PairingUI

__version__ = "0.1.0"

_WHERE = {
    "Node": "springline.node",
    "Control": "springline.control",
    "ProtocolHandler": "springline.protocols.handler",
    "Custom": "springline.protocols.message",
    "Discovery": "springline.actors.finding",
    "DeviceMessage": "springline.protocols.message",
    "PairingUI": "springline.protocols.pairing.ui",
}

__all__ = ["Control", "Custom", "DeviceMessage", "Discovery", "Node", "PairingUI", "ProtocolHandler", "__version__"]


def __getattr__(name: str) -> object:
    """Import a public name when it is first used: ``springline --help`` needs no actor engine."""
    if name in _WHERE:
        return getattr(importlib.import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'springline' has no attribute {name!r}")
