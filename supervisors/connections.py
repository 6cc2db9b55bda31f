"""ConnectionManager: the supervisor of the DeviceConnections, one for each paired device.

The rule: which connections there are follows from the Keystore's devices; whether a link shall be up, from what the
user said last, which the Keystore keeps too. So a manager that was killed knows everything again once it has asked.

Restarts are unlimited and paced by the backoff: a link to a device is never given up, and one device's trouble
escalates to nobody.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from springline.actors.connection import ConnectionArgs, DeviceConnection
from springline.actors.finding import DHT, MDNS, NetworkChanged, Seek, WhomToSeek
from springline.actors.messages import (
    KEYSTORE,
    ConnectDevice,
    DevicesChanged,
    DeviceStatus,
    DisconnectDevice,
    LinkStatus,
    LinkWanted,
    ListDevices,
    ListLinks,
    RevokeDevice,
    RevokedNow,
    SetAutoConnect,
    SetTrust,
    WhoAmI,
    WhyLink,
    connection_name,
)
from springline.actors.shell import LATER, Sender, receives
from springline.errors import Refused, SpringlineError, UnknownDevice
from springline.store.devices import PairedDevice, TrustLevel
from springline.store.identity import DeviceInfo
from springline.store.trust import barred_because
from springline.supervisors import signals
from springline.supervisors.backoff import Backoff
from springline.supervisors.signals import What
from springline.supervisors.spec import ChildSpec, SupervisorSpec
from springline.supervisors.supervisor import Supervisor
from springline.transport.link import Phase
from springline.transport.story import Story, begun, process_ended

RETRY = 0.2
"""Seconds after which a question to a Keystore that is just being restarted is asked again."""

LINKED = (TrustLevel.TRUSTED, TrustLevel.VERIFIED)
"""Whoever is trusted like this has a connection."""


AT_ONCE = 10
"""Connections that are starting at the same time: a thousand would keep each other from getting ready."""


SEEK_AFTER = 0.5
"""Seconds that a device may be away before it is sought: a killed process is back sooner, by itself."""


class _Load:
    """Ask the Keystore for the devices (again)."""


class _FollowMore:
    """Go on starting and stopping connections."""


class _SeekNow:
    """Tell the finders whom to seek, if that has changed."""


class ConnectionManager(Supervisor):
    """Answers ``ListLinks``, ``ConnectDevice``, ``DisconnectDevice``, ``RevokeDevice`` and ``DevicesChanged``."""

    @staticmethod
    def spec() -> SupervisorSpec:
        """How it supervises: children are added as devices are known, and never given up."""
        pacing = Backoff(free=20, base=0.05, factor=1.5, cap=1.0)
        return SupervisorSpec(intensity=None, period=10.0, backoff=pacing, in_order=False)

    def start(self, args: SupervisorSpec) -> object:
        """Begin without children; they follow as soon as the Keystore has answered."""
        self._begun = begun(time.time(), again=self.generation > 1)
        self._own: UUID | None = None
        self._loaded = False
        self._devices: dict[UUID, PairedDevice] = {}
        self._links: dict[UUID, LinkStatus] = {}
        self._stories: dict[UUID, Story] = {}
        self._sought: frozenset[UUID] | None = None  # what the finders were told by a former life is not known
        self._to_seek_soon = False
        self._to_follow: deque[UUID] = deque()
        self._starting: set[UUID] = set()
        self._waiting: list[Sender] = []
        super().start(args)
        self._load(None, None)
        return LATER

    # -- which devices there are -----------------------------------------------------------------------------------

    @receives(_Load)
    def _load(self, _message: object, _sender: object) -> None:
        if self._own is None:
            self.ask(KEYSTORE, WhoAmI(), self._know_self, RETRY)
        self.ask(KEYSTORE, ListDevices(), self._know_devices, RETRY)

    def _know_self(self, info: Any) -> None:
        if isinstance(info, DeviceInfo):
            self._own = info.device_id

    def _know_devices(self, devices: Any) -> None:
        if self._own is None or isinstance(devices, SpringlineError):
            self.wake(RETRY, _Load())
            return
        self._loaded = True
        self._devices = {device.info.device_id: device for device in devices}
        self._to_follow = deque(self._devices)
        self._follow_more(None, None)
        self._seek_soon()
        waiting, self._waiting = self._waiting, []
        for sender in waiting:
            sender.reply(self._statuses())

    @receives(_FollowMore)
    def _follow_more(self, _message: object, _sender: object) -> None:
        while self._to_follow and len(self._starting) < AT_ONCE:
            self._follow(self._devices[self._to_follow.popleft()])

    def _follow(self, device: PairedDevice) -> None:
        """Have a connection for a device that is trusted, and none for one that is not."""
        peer = device.info.device_id
        known = self._state.child(peer.hex)
        linked = device.trust in LINKED
        if linked and known is None and self._own is not None:
            self._starting.add(peer)
            spec = ChildSpec(peer.hex, DeviceConnection, ConnectionArgs(self._own, peer))
            self._feed(signals.AddChild(spec))
        elif linked:
            self.tell(connection_name(peer), LinkWanted(device.auto_connect, device.trust))
        elif known is not None and not known.removed:
            self._feed(signals.RemoveChild(peer.hex))

    @receives(DevicesChanged)
    def _changed(self, message: DevicesChanged, sender: Sender) -> object:
        self._loaded = False
        self._load(None, None)
        return self._answer_when_loaded(sender)

    def announce(self, news: signals.Announce) -> None:
        """Tell a connection that is up (again) what is wanted of it; note one that has died; start one that is due."""
        super().announce(news)
        peer = UUID(news.name)
        self._starting.discard(peer)
        if self._to_follow:
            self.wake(0.0, _FollowMore())  # not at once: the supervisor is in the midst of a step
        device = self._devices.get(peer)
        if news.what is What.READY and device is not None:
            self.tell(connection_name(peer), LinkWanted(device.auto_connect, device.trust))
        elif news.what is What.EXITED and device is not None:
            down, now = f"its process has ended ({news.detail})", datetime.now(UTC)
            entry = process_ended(self._link(device).state, news.detail, now.timestamp())
            self._keep(LinkStatus(peer, entry.after, now, down, entry=entry))
        elif news.what is What.REMOVED and device is not None and device.trust in LINKED:
            self.wake(0.0, _Load())  # it was paired anew while its former process was still ending

    # -- how the links are -----------------------------------------------------------------------------------------

    @receives(LinkStatus)
    def _status(self, message: LinkStatus, sender: Sender) -> None:
        self._keep(message)

    def _keep(self, status: LinkStatus) -> None:
        self._links[status.device] = status
        if status.entry is not None:
            self._stories[status.device] = self._story(status.device).add(status.entry)
        self._seek_soon()

    @receives(WhyLink)
    def _why(self, message: WhyLink, sender: Sender) -> Story:
        self._known(message.device)
        return self._story(message.device)

    def _story(self, device: UUID) -> Story:
        return self._stories.get(device) or Story().add(self._begun)

    @receives(ListLinks)
    def _list(self, message: ListLinks, sender: Sender) -> object:
        return self._statuses() if self._loaded else self._answer_when_loaded(sender)

    def _answer_when_loaded(self, sender: Sender) -> object:
        self._waiting.append(sender)
        return LATER

    def _statuses(self) -> tuple[DeviceStatus, ...]:
        return tuple(DeviceStatus(device, self._link(device)) for device in self._devices.values())

    def _link(self, device: PairedDevice) -> LinkStatus:
        peer = device.info.device_id
        if device.trust not in LINKED:
            state, now = f"{Phase.FAILED.value}({device.trust.value})", datetime.now(UTC)
            known = self._links.get(peer)
            since = known.since if known is not None else device.paired_at
            return LinkStatus(peer, state, since, barred_because(device, now))
        starting = LinkStatus(peer, Phase.DISCONNECTED.value, datetime.now(UTC), "its process is starting")
        return self._links.get(peer, starting)

    # -- who is to be found ----------------------------------------------------------------------------------------

    def _seek_soon(self) -> None:
        if not self._to_seek_soon:
            self._to_seek_soon = True
            self.wake(SEEK_AFTER, _SeekNow())

    @receives(_SeekNow)
    def _seek_now(self, _message: object, _sender: object) -> None:
        self._to_seek_soon = False
        sought = frozenset(peer for peer, device in self._devices.items() if self._is_missed(device))
        if sought != self._sought:
            self._sought = sought
            self._tell_finders(None, None)

    def _is_missed(self, device: PairedDevice) -> bool:
        wanted = device.trust in LINKED and device.auto_connect
        return wanted and self._link(device).state != Phase.CONNECTED.value

    @receives(WhomToSeek)
    def _tell_finders(self, _message: object, _sender: object) -> None:
        for finder in (MDNS, DHT):
            self.tell(finder, Seek(self._sought or frozenset()))

    @receives(NetworkChanged)
    def _network_changed(self, message: NetworkChanged, sender: Sender) -> None:
        for peer in self._devices:
            self.tell(connection_name(peer), message)

    # -- what the user wants ---------------------------------------------------------------------------------------

    @receives(ConnectDevice)
    def _connect(self, message: ConnectDevice, sender: Sender) -> object:
        return self._want(message.device, True, sender)

    @receives(DisconnectDevice)
    def _disconnect(self, message: DisconnectDevice, sender: Sender) -> object:
        return self._want(message.device, False, sender)

    def _want(self, peer: UUID, wanted: bool, sender: Sender) -> object:
        device = self._known(peer)
        if device.trust not in LINKED:
            raise Refused(f"{device.info.name} is {device.trust.value}", "pair it again")

        def kept(answer: Any) -> None:
            if isinstance(answer, SpringlineError):
                sender.reply(answer)
                return
            self._devices[peer] = replace(device, auto_connect=wanted)
            self.tell(connection_name(peer), LinkWanted(wanted))
            sender.reply(self._link(device))

        self.ask(KEYSTORE, SetAutoConnect(peer, wanted), kept)
        return LATER

    @receives(RevokeDevice)
    def _revoke(self, message: RevokeDevice, sender: Sender) -> object:
        """The link closes first: what takes time comes after."""
        peer = message.device
        self._known(peer)
        self.tell(connection_name(peer), RevokedNow())

        def revoked(device: Any) -> None:
            if isinstance(device, PairedDevice):
                self._devices[peer] = device
                self._follow(device)
            sender.reply(device)

        self.ask(KEYSTORE, SetTrust(peer, TrustLevel.REVOKED), revoked)
        return LATER

    def _known(self, peer: UUID) -> PairedDevice:
        device = self._devices.get(peer)
        if device is None:
            raise UnknownDevice(f"no device {peer} is paired")
        return device
