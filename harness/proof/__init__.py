"""What shows that the suite itself is right: faults, soak, a run without a network, measurements."""
