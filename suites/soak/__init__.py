"""Whether a good mesh stays green: the same mesh observed and judged many times."""
