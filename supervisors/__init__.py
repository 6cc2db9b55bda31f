"""Supervision: specs as data, a pure policy, the actor around it, and the node's tree."""
