"""Whole nodes in virtual time: what keeps two devices connected, on a simulated network, years in minutes.

The rule: what decides is the real code — the link machine and its driver, liveness, refresh, retry, ways, epochs,
trust, rotation, the network monitor, the finders' cores, the port mapper's — and what it runs on is made up: one queue
of events with a virtual clock, machines that sleep and crash, and a network that loses, delays, cuts and moves. One
number, the seed, decides everything, so every failure comes back.

``python -m springline.tests.simulation --seed N`` runs one; ``make simulate`` runs a thousand.
"""
