"""Containers, sandboxes, images and their streams, behind one port that Docker and an in-memory twin implement."""
