"""A mesh that stands, changed on purpose: what faults and variants are made with."""
