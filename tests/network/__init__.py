"""Nodes in network namespaces of their own: real addresses, real links that go down, real NAT."""
