"""How programs use a cluster: connect, ask, change, follow.

from mizzen.api import kinds
from mizzen.client import Client, follow, load

async with Client(load()) as client:
    await client.scale(kinds.DEPLOYMENT, "default", "web", 3)
    async for event in follow(client, kinds.POD, "default", label_selector="app=web"):
        print(event.type, event.object.metadata.name)
"""

from __future__ import annotations

from mizzen.client.client import Client
from mizzen.client.config import ClusterConfig, ConfigError, load
from mizzen.client.values import Event, Listed
from mizzen.client.watch import follow, states, wait_for

__all__ = ["Client", "ClusterConfig", "ConfigError", "Event", "Listed", "follow", "load", "states", "wait_for"]
