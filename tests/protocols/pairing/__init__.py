"""Tests of the pure parts of pairing."""
