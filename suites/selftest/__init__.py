"""Tests of the suite itself, in seconds, without a cluster."""
