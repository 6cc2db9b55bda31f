"""Tests of what devices say to each other."""
