"""What variants change on a live mesh."""
