"""What must hold while something changes: acts on the mesh, then observes. Only with --resilience."""
