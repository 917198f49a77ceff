"""What the self-tests share: made observations, fakes, breakages."""
