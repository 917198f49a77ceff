"""The suites: conformance judges a mesh, resilience changes one while it watches, selftest tests the suite itself."""
