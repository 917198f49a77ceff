"""Tests of harness/model/."""
