"""Pairing: two devices that share twelve words for five minutes come to trust each other for good."""
