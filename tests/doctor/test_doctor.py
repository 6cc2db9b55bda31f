"""``springline doctor`` with real nodes: what works, what does not, and what it says would help."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator

import pytest

from springline.actors.finding import Found
from springline.actors.messages import KEYSTORE, connection_name
from springline.doctor import examine as module
from springline.doctor.report import Check, Report
from springline.errors import UnknownDevice
from springline.supervisors.asking import Supervise
from springline.supervisors.spec import ChildSpec
from springline.tests.doctor.cast import Hale, Silent, Stillborn
from springline.tests.impostors import mute, nobody, serving, ssh
from springline.tests.nodes import PATIENCE, Pair, eventually, paired, process_of
from springline.transport.address import Address

PARTS = ["processes", "keystore", "clock", "listener", "own addresses", "network", "mDNS", "DHT", "port mapping"]


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with paired() as running:
        yield running


def by_name(report: Report) -> dict[str, Check]:
    return {check.what: check for check in report.checks}


def test_all_is_well(pair: Pair) -> None:
    told: list[Check] = []
    report = pair.blue.control.doctor(pair.red_id, told.append)
    assert report.works
    assert [check.what for check in report.checks[: len(PARTS)]] == PARTS
    found = by_name(report)
    assert found["link"].works
    assert found[pair.red.listen].works
    assert [step for step, _, _ in found[pair.red.listen].steps] == ["resolve", "connect", "handshake"]
    assert pair.blue.listen in found["listener"].seen
    assert found["mDNS"].works is None
    assert found["mDNS"].seen == "switched off"
    for check in report.checks:  # each was told twice: as begun, and as done
        assert [one.done for one in told if one.what == check.what] == [False, True]


def test_every_device_in_brief_and_one_value_of_json(pair: Pair) -> None:
    done = pair.blue.run("doctor", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["works"] is True
    (link,) = [check for check in told["checks"] if check["device"]]
    assert link["device"] == str(pair.red_id)
    assert "red is Connected" in link["seen"]


def test_each_address_is_tried_and_what_would_help_is_said(pair: Pair) -> None:
    blue, red = pair.blue.control, pair.red_id
    ahead = Address("127.0.0.1", 9)
    with nobody() as refusing, serving(ssh) as banner, serving(mute) as silent:
        for address in (refusing, banner, silent, Address.parse(pair.blue.listen)):
            blue.connect(red, address)
        blue.tell(connection_name(red), Found(red, (ahead,), "mDNS", time.time() + 365 * 86400))
        eventually(lambda: str(ahead) in str(by_name(blue.doctor(red))), "what was found is known")
        found = by_name(blue.doctor(red))
    assert found["link"].works, "one address is enough"
    helps = {address: found[str(address)].advice for address in (refusing, banner, silent, ahead)}
    assert f"port {refusing.port}" in helps[refusing]
    assert "another program" in helps[banner]
    assert "hangs on red" in helps[silent]
    assert found[str(ahead)].seen.startswith("by mDNS: ")
    assert "no harm" in found[pair.blue.listen].advice
    assert "364 days from now" in found["clock"].seen  # some seconds less than a year


def test_finders_say_how_they_go_or_are_told_of(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 1.0)
    node = pair.red.control
    for name, actor in (("mdns", Hale), ("dht", Stillborn), ("ports", Silent)):
        node.ask("discovery", Supervise(ChildSpec(name, actor)))
    eventually(lambda: by_name(node.doctor())["DHT"].seen.startswith("given up"), "it is given up")
    report = node.doctor()
    found = by_name(report)
    assert (found["mDNS"].works, found["mDNS"].seen) == (True, "3 devices heard")
    assert "no such socket" in found["DHT"].seen
    assert found["port mapping"].works is False
    assert "no answer" in found["port mapping"].seen
    assert [check.what for check in report.failures] == ["processes"]


def test_a_part_that_hangs_costs_no_other_check(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 1.0)
    keystore = process_of(pair.blue.control, KEYSTORE)
    os.kill(keystore, signal.SIGSTOP)
    try:
        found = by_name(pair.blue.control.doctor())
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(keystore, signal.SIGCONT)
    assert found["keystore"].works is False
    assert found["listener"].works


def test_a_device_that_is_away_and_a_node_that_does_not_run() -> None:
    with paired() as pair:
        blue = pair.blue.control
        with pytest.raises(UnknownDevice):
            blue.doctor(pair.blue_id)
        with pytest.raises(UnknownDevice):
            blue.await_state(pair.blue_id, "Connected", PATIENCE)
        pair.red.down()
        eventually(lambda: not blue.doctor(pair.red_id).works, "red is away")
        done = pair.blue.run("doctor", "red")
        assert done.returncode == 1
        assert "start springline on red" in " ".join(done.stdout.split())
        assert done.stderr.startswith("springline: not well: red is ")
        assert done.stderr.count("\n") == 1
        blue.revoke(pair.red_id)
        (link,) = blue.doctor(pair.red_id).failures
        assert "pair it again" in link.advice
        assert blue.doctor().works, "what is not wanted is not missed"
        pair.blue.down()
        done = pair.blue.run("doctor", "--json")
        assert done.returncode == 1
        told = json.loads(done.stdout)
        assert [check["what"] for check in told["checks"] if check["works"] is False] == ["node"]
