"""The controllers, each a pure reconciler."""
