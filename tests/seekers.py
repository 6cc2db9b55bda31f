"""Nodes that find each other by multicast on 127.0.0.1, and how they forget where the others are."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from springline.actors.finding import MDNS, Health, HowItGoes
from springline.cli.local import LocalNode
from springline.control import Control
from springline.store import opening
from springline.store.layout import Layout
from springline.store.vault import Vault
from springline.tests.nodes import QuickNode

BY_MDNS = ("--no-dht", "--no-port-mapping")


class MdnsNode(QuickNode):
    """It looks on the local network only."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, options=BY_MDNS, **more)


def vault_of(node: LocalNode) -> Vault:
    """The store of a node that does not run."""
    return opening.unlock(Layout(node.folder), node.passphrase.encode())


def forget(node: LocalNode, peer: UUID) -> None:
    """It comes back without knowing where that device is. The node does not run."""
    vault = vault_of(node)
    vault.save_preferences(peer, type(vault.preferences(peer))())


def health(node: Control) -> Health:
    """How its finder is."""
    said: Health = node.ask(MDNS, HowItGoes())
    return said
