"""Tests of harness/kube/."""
