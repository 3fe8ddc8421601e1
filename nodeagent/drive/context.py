"""What the agent knows of its node and cluster while it runs; changed in one place each, read by all drivers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from mizzen.api import kinds, resources
from mizzen.api.references import configs_of
from mizzen.api.types import core_v1 as core
from mizzen.api.volumes import claims_of, is_bound, is_for
from nodeagent.drive.checkpoint import ClusterFacts
from nodeagent.drive.objects import Objects
from nodeagent.lifecycle.downward import Sources
from nodeagent.lifecycle.specs import names_of
from nodeagent.network.hosts import pod_hosts, shared_hosts
from nodeagent.network.resolv import Resolver, pod_resolver, render


@dataclass(slots=True)
class NodeContext:
    """The node."""

    name: str
    ip: str
    objects: Objects
    facts: ClusterFacts = field(default_factory=ClusterFacts)
    memory_bytes: int = 0
    allocatable: Mapping[str, str] = field(default_factory=dict)
    resolver: Resolver = field(default_factory=Resolver)
    """What the machine itself asks for names."""
    hosts: str = ""
    """The machine's own `/etc/hosts`, which pods on its network share."""
    network_ready: bool = False

    def allocatable_amounts(self) -> resources.Amounts:
        """What pods may take, as numbers."""
        return resources.amounts(self.allocatable)

    def hosts_file(self, pod: core.Pod, ip: str) -> str:
        """A pod's `/etc/hosts`."""
        if pod.spec.host_network:
            return shared_hosts(self.hosts, pod.spec.host_aliases)
        short, full = names_of(pod, self.facts.cluster_domain)
        return pod_hosts(ip, short, full, pod.spec.host_aliases)

    def resolv_conf(self, pod: core.Pod) -> str:
        """A pod's `/etc/resolv.conf`."""
        facts = self.facts
        namespace = pod.metadata.namespace
        return render(pod_resolver(pod.spec, namespace, facts.cluster_dns, facts.cluster_domain, self.resolver))

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
            claims=dict(self._volumes(pod)),
        )

    def _volumes(self, pod: core.Pod) -> Iterator[tuple[str, core.PersistentVolume]]:
        """The volumes that the pod's claims are bound to; claim and volume must name each other."""
        cache, namespace = self.objects.cache, pod.metadata.namespace
        for name, _ in claims_of(pod):
            claim = cache.get(kinds.PERSISTENT_VOLUME_CLAIM, namespace, name)
            if claim is None or not is_bound(claim):
                continue
            volume = cache.get(kinds.PERSISTENT_VOLUME, "", claim.spec.volume_name)
            if volume is not None and is_for(volume, claim):
                yield name, volume
