"""The node's whole process tree, as data, on one page.

The rule: what runs, in which order it starts, and what a crash takes with it is said here and nowhere else. The order
is the order of need: the Keystore opens the store before anybody asks for a handshake; handlers are up before a link
can bring them messages; connections come last. Stopping goes the other way round. Handlers need none of their kind to
start, nor do finders, so they start together.

A crash of one child leaves its siblings alone (``one_for_one``): they find each other by name, so a sibling reborn
under its name is simply there again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from springline.actors.approvals import Approvals, ApprovalsArgs
from springline.actors.dht import DhtArgs, DhtDiscovery
from springline.actors.events import EventHub
from springline.actors.finding import NOWHERE, Discovery
from springline.actors.keeping import APPROVALS
from springline.actors.keystore import Keystore, KeystoreArgs
from springline.actors.mdns import MdnsArgs, MdnsDiscovery
from springline.actors.network import NetworkArgs, NetworkMonitor
from springline.actors.ports import PortArgs, PortMapper
from springline.actors.tcp import TcpArgs, TcpTransport
from springline.protocols.echo.handler import Echo
from springline.protocols.files.handler import Files, FilesArgs
from springline.protocols.handler import ProtocolHandler
from springline.protocols.pairing.actor import Pairing, PairingArgs
from springline.protocols.trust.handler import Trust
from springline.protocols.where.handler import Where
from springline.supervisors.backoff import Backoff
from springline.supervisors.connections import ConnectionManager
from springline.supervisors.spec import ChildSpec, Excess, SupervisorSpec
from springline.supervisors.supervisor import Supervisor

PACE = Backoff(free=20, base=0.05, factor=1.5, cap=1.0)
"""How restarts are paced: what a node is made of must be back soon, and a fork a second hurts nobody."""


@dataclass(frozen=True, slots=True)
class NodeArgs:
    """What a node's tree is made from.

    :param incoming: folder for received files.
    :param handlers: further protocol handlers and what each is begun with.
    :param discovery: the ways of finding devices.
    """

    keystore: KeystoreArgs
    tcp: TcpArgs
    incoming: str
    handlers: Sequence[tuple[type[ProtocolHandler], Any]] = ()
    discovery: Discovery = NOWHERE


def node_tree(args: NodeArgs) -> SupervisorSpec:
    """The spec of the NodeSupervisor."""
    handlers = (
        ChildSpec(Echo.protocol, Echo),
        ChildSpec(Files.protocol, Files, FilesArgs(args.incoming)),
        ChildSpec(Trust.protocol, Trust),
        ChildSpec(Where.protocol, Where),
        *(ChildSpec(handler.protocol, handler, given) for handler, given in args.handlers),
    )
    transports = (ChildSpec("tcp", TcpTransport, args.tcp),)
    finders = [ChildSpec("network", NetworkMonitor, NetworkArgs())]
    if args.discovery.port_mapping:
        finders.append(ChildSpec("ports", PortMapper, PortArgs(udp=args.discovery.dht)))
    if args.discovery.mdns:
        finders.append(ChildSpec("mdns", MdnsDiscovery, MdnsArgs()))
    if args.discovery.dht:
        finders.append(ChildSpec("dht", DhtDiscovery, DhtArgs(args.discovery.bootstrap)))
    plugins = SupervisorSpec(handlers, backoff=PACE, excess=Excess.QUARANTINE, in_order=False)
    discovery = SupervisorSpec(tuple(finders), backoff=PACE, excess=Excess.QUARANTINE, in_order=False)
    return SupervisorSpec(
        children=(
            ChildSpec("keystore", Keystore, args.keystore, start_deadline=30.0),
            ChildSpec("events", EventHub),
            ChildSpec(APPROVALS, Approvals, ApprovalsArgs()),
            ChildSpec("protocols", Supervisor, plugins),
            ChildSpec("transports", Supervisor, SupervisorSpec(transports, backoff=PACE)),
            ChildSpec("discovery", Supervisor, discovery),
            ChildSpec("pairing", Pairing, PairingArgs()),
            ChildSpec("connections", ConnectionManager, ConnectionManager.spec()),
        ),
        intensity=20,
        backoff=PACE,
    )
