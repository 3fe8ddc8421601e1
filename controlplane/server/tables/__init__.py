"""What `kubectl get` prints: one table per kind, made on the server as Kubernetes does."""
