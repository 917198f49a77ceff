"""Tests of harness/machine/."""
