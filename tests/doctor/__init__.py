"""Tests of ``doctor``: the advice by cases, the examination with real nodes."""
