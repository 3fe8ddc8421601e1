"""`custom.metrics.k8s.io` and `external.metrics.k8s.io`: what pods say of themselves, as autoscalers and people ask."""
