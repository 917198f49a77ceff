"""Tests of harness/base/."""
