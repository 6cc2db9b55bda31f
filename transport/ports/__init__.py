"""Ports on the router: what is asked for, kept and given back, by NAT-PMP and by UPnP."""
