"""Tests of harness/proof/."""
