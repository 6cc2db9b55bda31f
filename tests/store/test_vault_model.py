"""The vault against a model: whatever is done in whatever order, reopened in between, it holds what it should."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from springline.errors import Damaged, Misuse, UnknownDevice
from springline.store.devices import TrustLevel
from springline.store.preferences import ConnectionConfig
from springline.tests.store.cast import NOW, info, key, new_vault, reopened

DEVICES = {info(number).device_id: info(number) for number in (1, 2, 3)}
peers = st.sampled_from(list(DEVICES))
addresses = st.sampled_from(["10.0.0.1:1", "10.0.0.2:2", "example:3"])


@dataclass(frozen=True)
class Known:
    """What the model knows of a device."""

    paired_at: datetime
    trust: TrustLevel = TrustLevel.TRUSTED
    auto_connect: bool = True
    seen: datetime | None = None
    key: int | None = None
    config: ConnectionConfig = field(default_factory=ConnectionConfig)


class VaultMachine(RuleBasedStateMachine):
    """Rules are the vault's methods."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="springline-test-"))
        self.vault = new_vault(self.folder)
        self.model: dict[object, Known] = {}
        self.now = NOW

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)

    @rule(peer=peers, secret=st.integers(1, 9), address=addresses)
    def pair(self, peer: object, secret: int, address: str) -> None:
        self.vault.pair(DEVICES[peer], key(secret), (address,), self._later())  # type: ignore[index]
        known = self.model.get(peer, Known(self.now))
        if known.trust in (TrustLevel.EXPIRED, TrustLevel.REVOKED):
            known = replace(known, trust=TrustLevel.TRUSTED, seen=self.now)
        config = known.config.with_good_address(address)
        self.model[peer] = replace(known, auto_connect=True, key=secret, config=config)

    @rule(peer=peers, level=st.sampled_from(TrustLevel))
    def trust(self, peer: object, level: TrustLevel) -> None:
        known = self.model.get(peer)
        try:
            self.vault.set_trust(peer, level, self._later())  # type: ignore[arg-type]
        except UnknownDevice:
            assert known is None
        except Misuse:
            assert known is not None
            assert known.trust in (TrustLevel.EXPIRED, TrustLevel.REVOKED)
            assert level not in (known.trust, TrustLevel.REVOKED)
        else:
            assert known is not None
            self.model[peer] = replace(known, trust=level)
            if level is TrustLevel.REVOKED:
                gone = replace(self.model[peer], auto_connect=False, key=None, config=ConnectionConfig())
                self.model[peer] = gone

    @rule(peer=peers, address=addresses)
    def connect(self, peer: object, address: str) -> None:
        self.vault.remember_address(peer, address)  # type: ignore[arg-type]
        self.vault.seen(peer, self._later())  # type: ignore[arg-type]
        known = self.model.get(peer)
        if known is not None and known.trust is not TrustLevel.REVOKED:
            self.model[peer] = replace(known, seen=self.now, config=known.config.with_good_address(address))

    @precondition(lambda self: self.model)
    @rule(data=st.data(), wanted=st.booleans())
    def wish(self, data: st.DataObject, wanted: bool) -> None:
        peer = data.draw(st.sampled_from(list(self.model)))
        self.vault.set_auto_connect(peer, wanted, self._later())  # type: ignore[arg-type]
        self.model[peer] = replace(self.model[peer], auto_connect=wanted)

    @rule()
    def reopen(self) -> None:
        self.vault = reopened(self.vault)

    @invariant()
    def it_holds_what_it_should(self) -> None:
        if not hasattr(self, "vault"):
            return
        found = {device.info.device_id: device for device in self.vault.devices()}
        assert found.keys() == self.model.keys()
        for peer, device in found.items():
            known = self.model[peer]
            assert device.info == DEVICES[peer]
            assert (device.trust, device.auto_connect) == (known.trust, known.auto_connect)
            assert (device.paired_at, device.last_connected) == (known.paired_at, known.seen)
            assert self.vault.by_static_key(device.info.static_key) == device
            assert self.vault.preferences(peer) == known.config
            if known.key is not None:
                assert self.vault.relationship_key(peer) == key(known.key)
            else:
                try:
                    self.vault.relationship_key(peer)
                except Damaged:
                    continue
                raise AssertionError("a revoked device has a key")

    def _later(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


TestVault = VaultMachine.TestCase
TestVault.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
