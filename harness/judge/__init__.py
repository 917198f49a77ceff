"""From an observation to verdicts and causes. Reads plain data only."""
