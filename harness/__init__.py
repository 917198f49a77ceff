"""The machinery of eastwest: topology, clusters, mesh, workloads, observation, judgement."""
