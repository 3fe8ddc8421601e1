"""The store: versioned bytes under keys, in etcd or in memory. See README.md for the flow."""

from __future__ import annotations
