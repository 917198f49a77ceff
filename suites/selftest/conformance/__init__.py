"""Tests of suites/conformance/."""
