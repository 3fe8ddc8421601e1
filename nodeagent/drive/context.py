"""What the agent knows of its node and cluster while it runs; changed in one place each, read by all drivers."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mizzen.api import csivolumes, kinds, resources
from mizzen.api.references import configs_of
from mizzen.api.service_ranges import family_of
from mizzen.api.types import core_v1 as core
from mizzen.api.types import storage_v1 as storage
from mizzen.api.volumes import claims_of, is_bound, is_for
from nodeagent.drive import machine
from nodeagent.drive.checkpoint import ClusterFacts
from nodeagent.drive.objects import Objects
from nodeagent.lifecycle.admit import Host
from nodeagent.lifecycle.downward import ConfigError, Sources
from nodeagent.lifecycle.specs import names_of
from nodeagent.lifecycle.storage import Storage
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
    pids_max: int = 0
    """How many processes a container may have; 0: as many as it likes."""
    allocatable: Mapping[str, str] = field(default_factory=dict)
    resolver: Resolver = field(default_factory=Resolver)
    """What the machine itself asks for names."""
    hosts: str = ""
    """The machine's own `/etc/hosts`, which pods on its network share."""
    network_ready: bool = False
    deep_read_only: bool = field(default_factory=machine.has_deep_read_only)
    """Whether the kernel can make a mount read-only with all that is mounted below it."""
    app_armor: bool = False
    """Whether the kernel confines processes with AppArmor."""
    unsafe_sysctls: tuple[str, ...] = ()
    """What pods may set beside Kubernetes' safe kernel parameters."""
    pressures: Mapping[str, int] = field(default_factory=dict)
    """The node's conditions that say what it lacks, with when it was felt last."""
    shutting_down: bool = False
    seccomp_folder: Path = Path()
    """Where the node's own seccomp profiles are."""

    def allocatable_amounts(self) -> resources.Amounts:
        """What pods may take, as numbers: of what the node has by itself, and of what others have given it."""
        return resources.amounts(self.offered())

    def offered(self) -> Mapping[str, str]:
        """The same as quantities."""
        own = self.objects.cache.get(kinds.NODE, "", self.name)
        given = own.status.capacity if own is not None else {}
        return {**given, **self.allocatable}

    def host(self) -> Host:
        """The node as pods choose by it."""
        own = self.objects.cache.get(kinds.NODE, "", self.name)
        return Host(
            name=self.name,
            allocatable=self.allocatable_amounts(),
            labels=own.metadata.labels if own is not None else None,
            taints=own.spec.taints if own is not None else (),
            app_armor=self.app_armor,
            pressures=self.pressures.keys(),
            shutting_down=self.shutting_down,
            unsafe_sysctls=self.unsafe_sysctls,
        )

    def runtime_handler(self, pod: core.Pod) -> str:
        """Which of the engine's ways to run containers a pod asks for; empty is its own. Raises ConfigError."""
        name = pod.spec.runtime_class_name
        if not name:
            return ""
        found = self.objects.cache.get(kinds.RUNTIME_CLASS, "", name)
        if found is None:
            raise ConfigError(f'RuntimeClass "{name}" not found')
        return found.handler

    def seccomp_profile(self, name: str) -> str:
        """The JSON text of one of the node's own profiles. Raises ConfigError."""
        path = (self.seccomp_folder / name).resolve()
        # A name comes from whoever makes pods, and must lead to nothing but a profile.
        if not path.is_relative_to(self.seccomp_folder.resolve()):
            raise ConfigError(f"seccomp profile {name!r} is not below the node's folder of profiles")
        try:
            return path.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"seccomp profile {name!r} cannot be read on this node: {error}") from error

    def service_ranges(self) -> tuple[str, ...]:
        """Where services have their IPv4 addresses: in the range that the cluster began with, and in all others."""
        ranges = self.objects.cache.list(kinds.SERVICE_CIDR)
        others = {cidr for item in ranges for cidr in item.spec.cidrs if family_of(cidr) == "IPv4"}
        return (self.facts.service_cidr, *sorted(others - {self.facts.service_cidr}))

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
        volumes = self.volumes_of(pod)
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
            claims=volumes,
            storage=self._storage(pod, volumes.values()),
        )

    def drivers_of(self, pod: core.Pod) -> tuple[storage.CSIDriver, ...]:
        """What is known of the storage drivers of a pod's volumes."""
        behind = self.volumes_of(pod).values()
        found = (self.objects.cache.get(kinds.CSI_DRIVER, "", name) for name in csivolumes.drivers_of(pod, behind))
        return tuple(driver for driver in found if driver is not None)

    def _storage(self, pod: core.Pod, behind: Collection[core.PersistentVolume]) -> Storage:
        if not csivolumes.drivers_of(pod, behind):
            return Storage(node=self.name)
        cache, namespace = self.objects.cache, pod.metadata.namespace
        own = cache.get(kinds.NODE, "", self.name)
        secrets = {
            place: cache.get(kinds.SECRET, *place) for volume in behind for place in csivolumes.secrets_of(volume)
        }
        claims = {name: cache.get(kinds.PERSISTENT_VOLUME_CLAIM, namespace, name) for name, _ in claims_of(pod)}
        return Storage(
            node=self.name,
            drivers={driver.metadata.name: driver for driver in self.drivers_of(pod)},
            attached=frozenset(one.name for one in own.status.volumes_attached) if own is not None else frozenset(),
            attachments={one.metadata.name: one for one in cache.list(kinds.VOLUME_ATTACHMENT)},
            secrets={place: found for place, found in secrets.items() if found is not None},
            bound={name: found for name, found in claims.items() if found is not None},
        )

    def volumes_of(self, pod: core.Pod) -> dict[str, core.PersistentVolume]:
        """The volumes that the pod's claims are bound to, by the names of the claims."""
        return dict(self._volumes(pod))

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
