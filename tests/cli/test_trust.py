"""``trust``, ``revoke`` and ``approve`` from a shell."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from springline.store.devices import TrustLevel
from springline.tests import forked
from springline.tests.cli.test_cli import bad, good
from springline.tests.company import Company, company
from springline.tests.nodes import QuickNode, eventually


@pytest.fixture(scope="module")
def them() -> Iterator[Company]:
    with company("anna", "bert", "carl") as running:
        running.pair("anna", "bert")
        running.pair("anna", "carl")
        yield running


def test_limits_are_set_kept_and_lifted(them: Company) -> None:
    anna = them.nodes["anna"]
    assert good(anna, "devices")[0]["expires_at"] is None
    changed = good(anna, "trust", "bert", "verified", "--until", "2999-12-31", "--unseen", "30")
    assert (changed["trust"], changed["expires_at"][:10], changed["unseen_limit"]) == (
        "verified",
        "2999-12-31",
        30 * 86400,
    )
    assert good(anna, "devices")[0]["trust"] == "verified"
    changed = good(anna, "trust", "bert", "TRUSTED")
    assert (changed["trust"], changed["unseen_limit"]) == ("trusted", 30 * 86400)
    said = anna.run("trust", "bert", "trusted", "--until", "never").stdout
    assert "trusted until away for 30 days" in said
    changed = good(anna, "trust", "bert", "trusted", "--unseen", "0")
    assert (changed["expires_at"], changed["unseen_limit"]) == (None, None)


def test_what_makes_no_sense_is_said(them: Company) -> None:
    anna = them.nodes["anna"]
    assert "no date" in bad(anna, 2, "trust", "bert", "trusted", "--until", "tomorrow")
    yesterday = (datetime.now(UTC) - timedelta(days=1)).date().isoformat()
    assert "before now" in bad(anna, 2, "trust", "bert", "trusted", "--until", yesterday)
    assert "nobody" in bad(anna, 2, "trust", "nobody", "trusted")
    assert anna.run("trust", "bert", "adored").returncode == 2
    assert "waits for approval" in bad(anna, 2, "approve", "nothing")
    assert "deny what" in bad(anna, 2, "approve", "--deny")
    assert "together" in bad(anna, 2, "approve", "something", "--all")


@pytest.mark.parametrize("answer", [["ID"], ["--all"], ["ID", "--deny"]])
def test_a_file_of_a_verified_device_is_approved_or_denied(them: Company, answer: list[str]) -> None:
    anna, bert = them.nodes["anna"], them.nodes["bert"]
    assert good(bert, "trust", "anna", "verified")["trust"] == "verified"
    assert good(bert, "approve") == []
    assert "Nothing waits" in bert.run("approve").stdout
    path = them.folder / f"for {'-'.join(answer)}.bin"
    path.write_bytes(os.urandom(1234))
    sending = forked.start(anna._command("send", "bert", str(path)), anna.environment)
    try:
        eventually(bert.control.approvals, "it waits")
        (one,) = good(bert, "approve")
        assert (one["device"], one["protocol"]) == (str(them.ids["anna"]), "files")
        assert "1.2 kB" in one["what"]
        assert one["id"] in bert.run("approve").stdout
        (settled,) = good(bert, "approve", *(one["id"] if part == "ID" else part for part in answer))
        assert (settled["id"], settled["approved"]) == (one["id"], "--deny" not in answer)
        _, errors = sending.communicate(timeout=60)
    finally:
        sending.kill()
        sending.wait()
    received = them.folder / "bert" / "incoming" / path.name
    if "--deny" in answer:
        assert sending.returncode == 1
        assert "the user there has denied it" in errors
        assert not received.exists()
    else:
        assert sending.returncode == 0, errors
        assert received.read_bytes() == path.read_bytes()
    good(bert, "trust", "anna", "trusted")


def test_revoke_tells_who_knows(them: Company) -> None:
    anna = them.nodes["anna"]
    them.await_link("anna", "bert")
    revoked = good(anna, "revoke", "carl")
    assert (revoked["trust"], revoked["revocation"]) == ("revoked", {"known_by": 1, "of": 1})
    assert "1 of 1 other device knows" in anna.run("trust", "carl", "revoked").stdout
    by_name = {device["name"]: device for device in good(anna, "devices")}
    assert by_name["carl"]["revocation"] == {"known_by": 1, "of": 1}
    assert "revocation" not in by_name["bert"]
    assert "pair it again" in bad(anna, 2, "trust", "carl", "trusted")
    assert them.trust("anna", "carl") is TrustLevel.REVOKED


def test_help_needs_no_node(tmp_path: Path) -> None:
    for command in ("trust", "revoke", "approve"):
        done = QuickNode(tmp_path, "none", "x").run(command, "--help")
        assert done.returncode == 0
        assert "--json" in done.stdout
