"""Tests of the pure parts of file transfer."""
