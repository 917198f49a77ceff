"""Tests of harness/clusters/."""
