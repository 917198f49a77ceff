"""Clusters: made with kind, or taken as they are; and what publishes load balancer addresses on them."""
