"""Pods' volumes on the node's disk: what files they have, and putting them there."""
