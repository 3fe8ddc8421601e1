"""The Common Expression Language with what Kubernetes adds to it: see the README."""
