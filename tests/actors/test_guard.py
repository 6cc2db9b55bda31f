"""No orphans, whoever is killed; and the app hears when its tree is gone. Real processes, real SIGKILL."""

from __future__ import annotations

import os
import signal
import sys

import psutil
import pytest

from springline.actors import guard
from springline.tests.actors.stage import PATIENCE, App, all_end, ended, until


def family(app: App) -> tuple[psutil.Process, psutil.Process]:
    """A child of the app's first actor, and a child of that."""
    middle = app.top.child()
    return middle.process, middle.child().process


def test_the_tree_goes_with_the_app(app: App) -> None:
    family(app)
    everybody = app.tree()
    assert len(everybody) == 5  # admin, logger, three generations
    app.process.kill()
    all_end(everybody)


def test_the_tree_goes_with_the_admin_and_the_app_hears_of_it(app: App) -> None:
    family(app)
    everybody = app.tree()
    app.admin.kill()
    all_end(everybody)
    assert app.said() == "gone"


def test_a_subtree_goes_with_its_middle_and_the_rest_stays(app: App) -> None:
    middle, leaf = family(app)
    middle.kill()
    all_end([middle, leaf])
    assert app.top("echo", 1) == 1
    assert until(lambda: app.top("exit_count"), "the parent is told")


def test_an_actor_with_a_thread_goes_too(app: App) -> None:
    middle = app.top.child()
    leaf = middle.child()
    leaf("start_thread")
    middle.process.kill()
    all_end([leaf.process])


def test_a_hung_actor_goes_too(app: App) -> None:
    middle = app.top.child()
    leaf = middle.child()
    leaf.tell("hang", 3600)
    middle.process.kill()
    all_end([leaf.process])


@pytest.mark.skipif(sys.platform != "linux", reason="needs PR_SET_PDEATHSIG")
def test_a_stopped_actor_goes_too(app: App) -> None:
    middle, leaf = family(app)
    leaf.suspend()
    until(lambda: leaf.status() == psutil.STATUS_STOPPED, "it is stopped")
    middle.kill()
    all_end([leaf])


def test_a_shutdown_returns_when_everybody_is_gone(app: App) -> None:
    family(app)
    everybody = app.tree()
    assert app.process.stdin
    app.process.stdin.write("\n")
    app.process.stdin.flush()
    assert app.said() == "shut down"
    all_end(everybody)


def test_a_signal_to_the_terminal_does_not_reach_the_tree(app: App) -> None:
    assert all(os.getsid(process.pid) != os.getsid(app.process.pid) for process in app.tree())


def test_a_tree_ends_with_its_last_process() -> None:
    read, write = os.pipe()
    with guard.Tree() as tree:
        child = os.fork()
        if child == 0:
            os.close(write)
            if os.fork() == 0:
                os.read(read, 1)  # outlives the one that forked it
            os._exit(0)
    os.waitpid(child, 0)
    assert not tree.is_over(0)
    os.close(write)
    assert tree.is_over(PATIENCE)
    tree.close()
    os.close(read)


def test_a_tree_that_is_cut_ends_and_another_does_not() -> None:
    trees, children = [], []
    for _ in range(2):
        with guard.Tree() as tree:
            trees.append(tree)
            children.append(os.fork())
            if children[-1] == 0:
                guard.watch()
                signal.pause()
    one, other = trees
    one.cut()
    assert one.is_over(PATIENCE)
    assert not other.is_over(0)
    other.close()
    one.close()
    for child in children:
        os.waitpid(child, 0)


def test_children_die_that_had_not_said_hello_yet(app: App) -> None:
    middle = app.top.child()
    middle.tell("spawn", 3)
    middle.process.kill()
    until(lambda: len([p for p in app.tree() if not ended(p)]) == 3, "admin, logger and the first actor are left")
