"""What control plane and agents agree on about Services."""

from __future__ import annotations

ANNOUNCED_BY = "mizzen.dev/announced-by"
"""The annotation that names the node which answers for the addresses of a Service of type LoadBalancer."""
