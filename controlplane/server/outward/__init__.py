"""Calls that the server makes itself: to pods, nodes and services, wherever they are."""
