"""The system's tools that make and break networks, run to their end, their complaints raised."""

from __future__ import annotations

import subprocess

PATIENCE = 30.0


def run(*command: str, text: str = "") -> str:
    """Run it; what it writes. :param text: what it reads. :raises RuntimeError: it fails."""
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=PATIENCE)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def ip(*arguments: str) -> None:
    """iproute2's ``ip``."""
    run("ip", *arguments)


def within(namespace: str, *command: str, text: str = "") -> str:
    """Run it in that network namespace; what it writes."""
    ip_netns_exec = ("ip", "netns", "exec", namespace)
    return run(*ip_netns_exec, *command, text=text)


def nft(namespace: str, rules: str) -> None:
    """Replace the packet filter there. :param rules: ``""`` for none."""
    within(namespace, "nft", "-f", "-", text=f"flush ruleset\n{rules}")
