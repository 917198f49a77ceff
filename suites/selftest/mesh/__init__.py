"""Tests of harness/mesh/."""
