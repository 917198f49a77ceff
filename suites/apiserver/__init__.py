"""Tests against a real API server, for what a fake one would believe too easily; need the programs of `make images`."""
