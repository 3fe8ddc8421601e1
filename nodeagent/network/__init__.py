"""The node's network: pod interfaces, routes to other nodes, services in nftables and the cluster's DNS."""
