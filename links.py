"""The part of ``Control`` that is about the links to devices: which there are, how they are, how they shall be.

The rule is that of ``control.py``: one question to one actor.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any
from uuid import UUID

from springline.actors.finding import AnswersAt, Found
from springline.actors.messages import (
    CONNECTIONS,
    KEYSTORE,
    ConnectDevice,
    DeviceStatus,
    DisconnectDevice,
    HowTuned,
    LinkStatus,
    ListLinks,
    TuneLink,
    WhyLink,
    connection_name,
)
from springline.doctor.report import Check, Report
from springline.errors import UnknownDevice
from springline.store.preferences import Tuning
from springline.transport.address import Address
from springline.transport.story import Story

BY_USER = "you"
"""How an address came that the user has given."""


class Links(ABC):
    """What can be asked about links."""

    bus: str
    """The node's bus directory."""

    @abstractmethod
    def ask(self, target: str, body: object, timeout: float = 10.0) -> Any:
        """See ``Control.ask``."""

    @abstractmethod
    def tell(self, target: str, message: object) -> None:
        """See ``Control.tell``."""

    def devices(self) -> tuple[DeviceStatus, ...]:
        """The paired devices and their links, by name."""
        found: tuple[DeviceStatus, ...] = self.ask(CONNECTIONS, ListLinks())
        return found

    def find(self, text: str | UUID) -> DeviceStatus:
        """The device with that id, unique prefix of an id, or name.

        :raises UnknownDevice: none, or more than one.
        """
        wanted = str(text).strip()
        devices = self.devices()
        exact = [d for d in devices if wanted in (str(d.device.info.device_id), d.device.info.name)]
        plain = wanted.replace("-", "").lower()
        close = [d for d in devices if len(plain) >= 2 and d.device.info.device_id.hex.startswith(plain)]
        found = exact or close
        if len(found) == 1:
            return found[0]
        if found:
            raise UnknownDevice(f"{len(found)} devices answer to '{wanted}'", "use more of the id")
        raise UnknownDevice(f"no paired device answers to '{wanted}'", "see 'springline devices'")

    def connect(self, device: UUID, address: str | Address | None = None) -> LinkStatus:
        """Keep the link to ``device`` up from now on; returns at once.

        :param address: where it is, if you know: it is tried now, and kept among those that are known.
        :raises Misuse: that is no address.
        """
        if address is None:
            status: LinkStatus = self.ask(CONNECTIONS, ConnectDevice(device))
            return status
        given = Address.parse(address) if isinstance(address, str) else address
        self.tell(KEYSTORE, AnswersAt(device, given))
        status = self.ask(CONNECTIONS, ConnectDevice(device))
        self.tell(connection_name(device), Found(device, (given,), BY_USER, time.time()))
        return status

    def disconnect(self, device: UUID) -> LinkStatus:
        """Close the link to ``device`` and keep it down until asked again."""
        status: LinkStatus = self.ask(CONNECTIONS, DisconnectDevice(device))
        return status

    def why(self, device: UUID) -> Story:
        """Why the link to ``device`` is as it is: its latest transitions, with cause, evidence and what follows."""
        told: Story = self.ask(CONNECTIONS, WhyLink(device))
        return told

    def doctor(self, device: UUID | None = None, told: Callable[[Check], object] | None = None) -> Report:
        """Test the ways in and out, all at once, and say what would help.

        :param device: whose addresses to try, one by one; None: all devices, in brief.
        :param told: hears of each check when it begins and when it is done.
        :raises UnknownDevice: that device is not paired.
        """
        from springline.doctor.examine import examine  # few commands need it

        status = None if device is None else self.find(device)
        known: dict[tuple[UUID | None, str], Check] = {}
        for check in examine(self.bus, status):
            known[check.device, check.what] = check
            if told is not None:
                told(check)
        return Report(tuple(known.values()))

    def tuning(self, device: UUID) -> Tuning:
        """How eagerly the link to ``device`` is kept up."""
        found: Tuning = self.ask(KEYSTORE, HowTuned(device))
        return found

    def tune(
        self,
        device: UUID,
        *,
        keepalive: float | None = None,
        retry_first: float | None = None,
        retry_cap: float | None = None,
    ) -> Tuning:
        """Keep the link to ``device`` up like that from now on, an open one included; None leaves a value as it is.

        :param keepalive: seconds of silence before a probe. :param retry_first: seconds before the first retry at most,
            doubling with each failure. :param retry_cap: seconds between two retries at most.
        :raises Misuse: a value is out of bounds. :raises Refused: it is not trusted any more.
        """
        tuning: Tuning = self.ask(KEYSTORE, TuneLink(device, keepalive, retry_first, retry_cap))
        return tuning
