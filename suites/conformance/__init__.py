"""The requirements, one file an area. Each reads an observation; none touches a cluster."""
