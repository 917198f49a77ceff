"""Breaks one thing: as a mutation of a good observation, or on a live mesh; one declaration for both."""
