"""The engine on our bus: what we rely on of Thespian, and what we mend, with real actors in real processes."""

from __future__ import annotations

import os
import pickle
import signal
import socket
from datetime import timedelta
from pathlib import Path

import psutil
import pytest
from thespian.actors import PoisonMessage

from springline.actors import bus
from springline.actors.addresses import address_of, path_of
from springline.actors.datagram import Fd
from springline.actors.lifecycle import Ask, Reply
from springline.actors.names import alive, register
from springline.actors.wire import Mailbox
from springline.errors import LocalFault, NotRunning
from springline.tests.actors.stage import PATIENCE, Actor, App, Bomb, Stage, all_end, open_fds, private_directory, until

# -- talk ----------------------------------------------------------------------------------------------------------


def test_the_app_and_actors_make_actors_and_talk(stage: Stage) -> None:
    one, other = stage.peer(), stage.peer()
    child = one.child()
    grandchild = child.child()
    assert len({a("pid") for a in (one, other, child, grandchild)}) == 4
    grandchild.tell("say", other.path, ("note", "hello"))
    until(lambda: other("noted") == ["hello"], "it arrives")


def test_an_actor_writes_to_an_endpoint(stage: Stage) -> None:
    actor = stage.peer()
    actor.tell("say", stage.client.path, "news")
    assert stage.client.listen(PATIENCE) == (actor.path, "news")


def test_an_actor_writes_to_itself(stage: Stage) -> None:
    actor = stage.peer()
    for number in range(3):
        actor.tell("say", actor.path, ("note", number))
    until(lambda: actor("noted") == [0, 1, 2], "they arrive")


def test_large_messages_and_descriptors(stage: Stage) -> None:
    actor = stage.peer()
    assert actor("echo", bytes(3_000_000)) == bytes(3_000_000)
    read, write = os.pipe()
    os.write(write, b"through an actor")
    assert actor("read", Fd(read)) == b"through an actor"
    actor.tell("keep", Fd(write))
    (kept,) = actor("noted")
    os.write(kept.fileno(), b"and back")
    assert os.read(read, 100) == b"and back"
    os.close(read)
    os.close(write)


def test_order_holds_both_ways(stage: Stage) -> None:
    a, b = stage.peer(), stage.peer()
    a.tell("flood", b.path, 3000)
    b.tell("flood", a.path, 3000)
    for actor in (a, b):
        until(lambda actor=actor: len(actor("noted")) >= 3000, "all arrive")  # type: ignore[misc]
        assert actor("noted") == list(range(3000))


@pytest.mark.parametrize("size", [0, 30_000])
def test_a_hung_actor_does_not_make_its_sender_deaf(stage: Stage, size: int) -> None:
    sender, hung = stage.peer(), stage.peer()
    read, write = os.pipe()
    hung.tell("wait_for", Fd(read))
    sender.tell("flood", hung.path, 500, size)
    assert sender("echo", "still here") == "still here"
    assert [sender("echo", number) for number in range(100)] == list(range(100))
    os.write(write, b"!")
    until(lambda: len(hung("noted")) == 500, "all arrive")
    assert hung("noted") == list(range(500))
    os.close(read)
    os.close(write)


def test_a_name_is_never_dead_for_good(stage: Stage) -> None:
    sender, first, second = stage.peer(), stage.peer(), stage.peer()
    register(stage.directory, "service", first.path)
    sender.tell("say", "service", ("note", 1))
    until(lambda: first("noted") == [1], "the first has it")
    first.process.kill()
    all_end([first.process])
    for _ in range(3):
        sender.tell("say", "service", ("note", "lost"))
    assert sender("echo", 1) == 1
    register(stage.directory, "service", second.path)
    sender.tell("say", "service", ("note", 2))
    until(lambda: second("noted") == [2], "the second has it")


def test_an_actor_is_not_harmed_by_strangers(stage: Stage, tmp_path: Path) -> None:
    actor = stage.peer()
    bomb = b"P" + pickle.dumps(Bomb(str(tmp_path / "exploded")))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
        for target in (actor.path, os.path.join(stage.directory, "admin")):
            for data in (b"-5>", b"", b"M", b"P", bytes(40_000), bomb):
                stranger.sendto(data, target)
            actor("echo", 1)
    assert actor.child()("echo", 2) == 2
    assert stage.peer()("echo", 3) == 3
    assert not (tmp_path / "exploded").exists()


def test_nothing_listens_on_a_network(app: App) -> None:
    app.top.child()
    assert [c for process in [app.admin, *app.tree()] for c in process.net_connections("inet")] == []


# -- what becomes of actors ----------------------------------------------------------------------------------------


def test_a_message_that_raises_runs_twice_and_the_sender_hears_of_it(stage: Stage) -> None:
    actor = stage.peer()
    sender = Mailbox(stage.directory)
    sender.send(actor.path, ("stumble",))
    _, poison = until(sender.receive, "the sender is told")
    assert isinstance(poison, PoisonMessage)
    assert poison.poisonMessage == ("stumble",)
    assert actor("run_count") == 2  # so handlers compute first and commit last, and our shell catches at the first run
    sender.close()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_parent_is_told_of_a_killed_child(stage: Stage, number: int) -> None:
    parent = stage.peer()
    child = parent.child()
    child.process.send_signal(number)
    until(lambda: parent("exit_count"), "the parent is told")
    until(lambda: not parent("child_pids"), "it is gone")  # told to stop, it says so before it ends


def test_a_parent_is_told_of_a_child_that_left(stage: Stage) -> None:
    parent = stage.peer()
    parent.child().tell("leave")
    until(lambda: parent("exit_count"), "the parent is told")


def test_a_parent_is_told_of_a_child_that_dies_while_it_notes_another(stage: Stage) -> None:
    parent = stage.peer()
    parent.brood(2)
    parent.tell("lose_one_while_another_is_noted")
    until(lambda: parent("exit_count") == 2, "the parent is told of both")
    parent.tell("leave")  # it would wait for a child it was not told of
    all_end([parent.process])


def test_a_parent_is_told_of_each_of_many_that_die_at_once(stage: Stage) -> None:
    parent = stage.peer()
    parent.brood(25)
    for pid in parent("child_pids"):
        os.kill(pid, signal.SIGKILL)
    until(lambda: parent("exit_count") == 25, "the parent is told of each")


def test_a_parent_is_told_of_a_child_killed_before_it_said_hello(stage: Stage) -> None:
    parent = stage.peer()
    child = psutil.Process(parent("start_child_and_stop_it"))
    assert child.ppid() == parent.process.pid
    child.kill()
    until(lambda: parent("exit_count"), "the parent is told")
    parent.tell("leave")
    all_end([parent.process])


def test_a_parent_is_told_of_a_child_that_failed_at_birth(stage: Stage) -> None:
    parent = stage.peer()
    parent.tell("spawn_stillborn")
    until(lambda: parent("exit_count"), "the parent is told")
    assert parent.child()("echo", 1) == 1


def test_a_parent_can_name_and_kill_the_process_of_a_child_that_hangs(stage: Stage) -> None:
    parent = stage.peer()
    pid = parent("start_child")
    parent.tell("call_children", stage.client.path)
    heard = stage.client.listen(PATIENCE)
    assert heard
    child = Actor(stage.client, heard[0])
    assert child.process.pid == pid
    child.tell("hang", 3600)
    os.kill(pid, signal.SIGKILL)
    until(lambda: parent("exit_count"), "the parent is told")


def test_children_do_not_cost_their_parent_descriptors(stage: Stage) -> None:
    parent = stage.peer()
    first, *_, last = parent.brood(30)
    base = stage.peer()("open_fds")
    assert parent("open_fds") <= base + 2  # its lifeline, however many hold on to it
    assert last("open_fds") <= first("open_fds")
    for pid in parent("child_pids"):
        os.kill(pid, signal.SIGKILL)
    until(lambda: not parent("child_pids"), "all are gone")
    assert parent("open_fds") <= base + 2


# -- the system ----------------------------------------------------------------------------------------------------


def test_a_shutdown_ends_every_process_and_gives_everything_back(directory: str) -> None:
    Stage(directory).close()  # what stays for good, such as the lifeline, is there from now on
    before, children = open_fds(), set(psutil.Process().children())
    stage = Stage(directory)
    top = stage.peer()
    top.brood(5)[0].child()
    admin = psutil.Process(top.process.ppid())
    tree = [admin, *admin.children(recursive=True)]
    assert len(tree) == 9  # with the logger
    assert set(psutil.Process().children()) == children  # nor is there a zombie of the admin's first process
    stage.close()
    all_end(tree)
    assert open_fds() == before


def test_a_directory_can_be_used_again_at_once(directory: str) -> None:
    for _ in range(10):
        stage = Stage(directory)
        first = psutil.Process(stage.peer().process.ppid())
        stage.close()
        assert not alive(os.path.join(directory, "admin"))
        all_end([first])


def test_a_shutdown_with_many_children(stage: Stage) -> None:
    brood = stage.peer().brood(60)
    stage.close()
    all_end(each.process for each in brood)


def test_a_shutdown_does_not_wait_for_a_hung_actor_for_ever(directory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thespian.system.systemBase.MAX_SYSTEM_SHUTDOWN_DELAY", timedelta(seconds=0.1))
    monkeypatch.setattr(bus, "LAST_PATIENCE", 0.1)
    with private_directory() as elsewhere:
        other = Stage(elsewhere)
        stage = Stage(directory)
        unconcerned = other.peer()
        hung = stage.peer()
        child = hung.child()
        hung.tell("hang", 3600)
        stage.close()
        assert not alive(os.path.join(directory, "admin"))
        all_end([hung.process, child.process])
        assert unconcerned("echo", "still here") == "still here"
        other.close()


def test_without_an_admin_requests_fail_at_once(stage: Stage) -> None:
    actor = stage.peer()
    admin = psutil.Process(actor.process.ppid())
    end = bus.tree_end(stage.system)
    admin.kill()
    with pytest.raises(NotRunning, match="actor system is gone"):
        stage.peer()
    all_end([actor.process, admin])
    os.fstat(end)
    stage.close()
    with pytest.raises(OSError, match="descriptor"):
        os.fstat(end)


def test_the_directory_must_be_private(directory: str) -> None:
    os.chmod(directory, 0o755)
    with pytest.raises(LocalFault, match="not private"):
        bus.start_system(directory)
    with pytest.raises(LocalFault, match="no bus directory"):
        bus.start_system(os.path.join(directory, "missing"))


def test_a_directory_reached_by_a_link(directory: str, tmp_path: Path) -> None:
    link = tmp_path / "bus"
    link.symlink_to(directory)
    stage = Stage(str(link))
    try:
        actor = stage.peer()
        assert os.path.dirname(actor.path) == directory
        assert actor.child()("echo", 1) == 1
    finally:
        stage.close()


def test_what_a_dead_admin_left_is_in_nobodys_way(directory: str) -> None:
    Mailbox(directory, "admin")._socket.close()
    stage = Stage(directory)
    try:
        assert stage.peer()("echo", 1) == 1
    finally:
        stage.close()


def test_the_engines_log_is_inside_the_directory(stage: Stage) -> None:
    assert os.path.dirname(os.environ["THESPLOG_FILE"]) == stage.directory


def test_the_engines_log_actor_works(stage: Stage) -> None:
    actor = stage.peer()
    actor.tell("log", "a line for the log actor")
    assert actor("echo", 1) == 1


def test_addresses(directory: str) -> None:
    named, path = address_of("service", directory), os.path.join(directory, "1.abc")
    assert path_of(named) == os.path.join(directory, "service")
    assert path_of(address_of(path, "/elsewhere")) == path
    assert named == address_of("service", directory)
    assert named != address_of("other", directory)
    assert pickle.loads(pickle.dumps(named)) == named
    assert str(named.addressDetails) == "service"


def test_a_closed_transport_says_so(stage: Stage) -> None:
    transport = stage.system._systemBase.transport.external_transport_clone()
    transport.close()
    transport.close()
    transport.interrupt_wait()  # a late signal
    with pytest.raises(NotRunning, match="closed"):
        transport.mailbox.fileno()


def test_ask_and_reply_travel_as_they_are(stage: Stage) -> None:
    mailbox = Mailbox(stage.directory)
    mailbox.send(stage.peer().path, Ask(7, ("echo", "x")))
    _, reply = until(mailbox.receive, "an answer")
    assert reply == Reply(7, "x")
    mailbox.close()
