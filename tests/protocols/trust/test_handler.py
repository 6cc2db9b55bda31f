"""Three real nodes: what one of them revokes, the others soon revoke too, whoever was there when it happened."""

from __future__ import annotations

import pytest

from springline.actors.messages import ListLinks
from springline.errors import Refused
from springline.protocols.message import Custom
from springline.protocols.trust.wire import VERSION, Have
from springline.store.devices import TrustLevel
from springline.tests.company import Company, company
from springline.tests.nodes import eventually, kill, pid_of


def all_paired(them: Company) -> None:
    them.pair("anna", "bert")
    them.pair("anna", "carl")
    them.pair("bert", "carl")


def test_a_revocation_reaches_every_trusted_device_and_stays() -> None:
    with company("anna", "bert", "carl") as them:
        all_paired(them)
        carl = them.ids["carl"]

        # who is connected closes its link at once, and says that it knows
        them["anna"].revoke(carl)
        eventually(lambda: them.trust("bert", "carl") is TrustLevel.REVOKED, "bert knows")
        eventually(lambda: them.state("bert", "carl") == "Failed(revoked)", "bert has closed the link")
        eventually(lambda: them["anna"].revocations() == {carl: (1, 1)}, "anna knows that bert knows")
        eventually(lambda: them["bert"].revocations() == {carl: (1, 1)}, "bert knows that anna knows")
        assert pid_of(them["bert"], f"connections.{carl.hex}") is None

        # it outlives restarts on either side
        for name in ("bert", "anna"):
            them.down(name)
            them.up(name)
        them.await_link("anna", "bert")
        assert them.trust("bert", "carl") is them.trust("anna", "carl") is TrustLevel.REVOKED

        # pairing again is the user's word on that device, and gossip does not undo it; nor does it change the other's
        first = them.record("anna", "carl")
        them.pair("anna", "carl")
        again = them.record("anna", "carl")
        assert (again.trust, again.paired_at) == (TrustLevel.TRUSTED, first.paired_at)
        kill(them["bert"], "protocols.trust")  # reborn, it tells what it knows
        them["bert"].disconnect(them.ids["anna"])
        them["bert"].connect(them.ids["anna"])
        them.await_link("anna", "bert")
        assert them.trust("anna", "carl") is TrustLevel.TRUSTED
        assert them.trust("bert", "carl") is TrustLevel.REVOKED

        # a new word beats the pairing
        them["bert"].set_trust(carl, TrustLevel.REVOKED)
        them["anna"].revoke(carl)
        eventually(lambda: them.state("anna", "carl") == "Failed(revoked)", "anna has closed the link again")


def test_who_was_away_learns_it_when_it_connects() -> None:
    with company("anna", "bert", "carl") as them:
        all_paired(them)
        carl = them.ids["carl"]
        them.down("bert")
        them["anna"].revoke(carl)
        assert them["anna"].revocations() == {carl: (0, 1)}
        them.up("bert")
        eventually(lambda: them.trust("bert", "carl") is TrustLevel.REVOKED, "bert knows")
        eventually(lambda: them["anna"].revocations() == {carl: (1, 1)}, "anna knows that bert knows")
        eventually(lambda: them.state("bert", "carl") == "Failed(revoked)", "bert has closed the link")


def test_only_trusted_devices_tell_and_are_told() -> None:
    with company("anna", "bert") as them:
        them.pair("anna", "bert")
        ask = Custom("trust", VERSION, Have(()).encode())
        assert isinstance(them["bert"].send(them.ids["anna"], ask, protocol="trust"), Custom)
        them["anna"].set_trust(them.ids["bert"], TrustLevel.VERIFIED)
        eventually(lambda: them.trust("anna", "bert") is TrustLevel.VERIFIED, "bert is only verified")
        with pytest.raises(Refused, match="only trusted"):
            them["bert"].send(them.ids["anna"], ask, protocol="trust")
        assert them["anna"].ask("connections", ListLinks())[0].link.state == "Connected"
