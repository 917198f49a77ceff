"""Changes that leave a mesh valid: the suite must not call any of them a failure."""
