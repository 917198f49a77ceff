"""The observation: plain, frozen data that says what was seen, and serialises to one JSON file."""
