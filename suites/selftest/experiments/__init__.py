"""Tests of harness/experiments/."""
