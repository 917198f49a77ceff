"""Tests of harness/observe/."""
