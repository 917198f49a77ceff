"""What a run is asked to do, and the ways of running."""
