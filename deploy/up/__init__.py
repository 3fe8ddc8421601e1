"""A whole cluster of one node on this machine, with a demo: `make up`, `mizzen up`. See README.md."""
