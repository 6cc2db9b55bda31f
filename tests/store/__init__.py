"""Tests of ``store``: on real disks, with real crashes where the order of writes is the promise."""
