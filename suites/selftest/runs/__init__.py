"""Tests of harness/runs/."""
