"""No core dumps, no readers, no swap: in processes of their own, because none of it can be taken back."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="prctl(2), mlockall(2) and /proc")

DUMPABLE = "ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)"
START = "import ctypes, os, resource; from springline.actors import hardening; "


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", START + code], capture_output=True, text=True, timeout=60, check=False)


@LINUX
def test_a_hardened_process_cannot_be_dumped_and_goes_on_working() -> None:
    code = (
        f"hardening.harden(); hardening.harden(); pid = os.fork(); pid and os.waitpid(pid, 0);"
        f"print({DUMPABLE}, resource.getrlimit(resource.RLIMIT_CORE), flush=True);"
        "print(len(os.listdir('/proc/self/fd')) > 2, os.pidfd_open(os.getpid()) > 2, flush=True)"
    )
    done = run(code)
    assert done.stdout.splitlines() == ["0 (0, 0)", "True True"] * 2, done.stderr  # a forked child is hardened too


def test_a_crash_leaves_no_core() -> None:
    code = (
        "soft, hard = resource.getrlimit(resource.RLIMIT_CORE); resource.setrlimit(resource.RLIMIT_CORE, (hard, hard));"
        "pid = os.fork() or (hardening.harden(), os.abort()); print(os.WCOREDUMP(os.waitpid(pid, 0)[1]))"
    )
    assert run(code).stdout == "False\n"


@LINUX
def test_memory_is_kept_out_of_the_swap_space_where_that_is_allowed() -> None:
    locked = "[int(line.split()[1]) for line in open('/proc/self/status') if line.startswith('VmLck')][0]"
    granted, size = run(f"print(hardening.keep_in_memory(), {locked})").stdout.split()
    assert (granted == "True") == (int(size) > 0)


@LINUX
def test_where_it_is_not_allowed_the_log_says_so_and_nothing_breaks() -> None:
    if os.getuid() != 0:
        pytest.skip("takes a privilege away")
    code = (
        "import logging; logging.basicConfig(level=logging.DEBUG);"
        "resource.setrlimit(resource.RLIMIT_MEMLOCK, (65536, 65536)); os.setuid(65534);"
        "print(hardening.keep_in_memory(), len(bytearray(1 << 24)))"
    )
    done = run(code)
    assert done.stdout == f"False {1 << 24}\n"
    assert "could not be kept out of the swap space" in done.stderr
