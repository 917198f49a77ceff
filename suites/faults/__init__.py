"""The suite proved on live clusters: every fault is made, must be caught, and is mended."""
