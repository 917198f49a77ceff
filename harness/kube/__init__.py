"""One cluster's Kubernetes API."""
