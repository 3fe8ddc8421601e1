"""What the agent knows of its node and cluster while it runs; changed in one place each, read by all drivers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mizzen.api import kinds, resources
from mizzen.api.references import configs_of
from mizzen.api.types import core_v1 as core
from nodeagent.drive.checkpoint import ClusterFacts
from nodeagent.drive.objects import Objects
from nodeagent.lifecycle.downward import Sources
from nodeagent.lifecycle.files import NamesOfNode


@dataclass(slots=True)
class NodeContext:
    """The node."""

    name: str
    ip: str
    objects: Objects
    facts: ClusterFacts = field(default_factory=ClusterFacts)
    memory_bytes: int = 0
    allocatable: Mapping[str, str] = field(default_factory=dict)
    resolv_conf: str = ""
    hosts: str = ""

    def allocatable_amounts(self) -> resources.Amounts:
        """What pods may take, as numbers."""
        return resources.amounts(self.allocatable)

    def names(self) -> NamesOfNode:
        """What the node knows about names."""
        return NamesOfNode(
            cluster_dns=self.facts.cluster_dns,
            domain=self.facts.cluster_domain,
            resolv_conf=self.resolv_conf,
            hosts=self.hosts,
        )

    def sources(self, pod: core.Pod, ip: str) -> Sources:
        """Everything outside a pod that its environment and files may be made from."""
        namespace, cache = pod.metadata.namespace, self.objects.cache
        named = configs_of(pod)
        maps = {name: cache.get(kinds.CONFIG_MAP, namespace, name) for kind, _, name in named if kind == "configmaps"}
        secrets = {name: cache.get(kinds.SECRET, namespace, name) for kind, _, name in named if kind == "secrets"}
        services = list(cache.list(kinds.SERVICE, namespace))
        master = cache.get(kinds.SERVICE, "default", "kubernetes")
        if master is not None and namespace != "default":
            services.append(master)
        return Sources(
            config_maps={name: found for name, found in maps.items() if found is not None},
            secrets={name: found for name, found in secrets.items() if found is not None},
            services=tuple(services),
            pod_ips=(ip,) if ip else (),
            host_ips=(self.ip,) if self.ip else (),
            allocatable=self.allocatable,
        )
