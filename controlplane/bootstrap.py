"""What a cluster has from the first moment: namespaces and accounts, the API's own service, an identity, a join token.

Every control plane makes sure of it at every start; what is there stays as it is.
"""

from __future__ import annotations

import ipaddress
from typing import Any

import structlog

from controlplane.server import join
from controlplane.server.pki import Pki
from controlplane.server.verbs import Verbs
from controlplane.server.verbs_write import WriteOptions
from controlplane.settings import ServerSettings
from mizzen.api import errors, kinds, times
from mizzen.api.kinds import Object
from mizzen.api.service_ranges import DEFAULT_RANGE
from mizzen.api.types import core_v1, discovery_v1, meta_v1, networking_v1
from mizzen.engine.values import Ids, Instant

NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
SYSTEM = "kube-system"
API_SERVICE = "kubernetes"
ACCOUNT_KEY = "service-account-key"
_LOG = structlog.get_logger(__name__)


async def ensure_basics(verbs: Verbs, settings: ServerSettings) -> None:
    """The system namespaces, the range of services and the `kubernetes` service with this control plane behind it."""
    for name in NAMESPACES:
        await _ensure(verbs, core_v1.Namespace(metadata=meta_v1.ObjectMeta(name=name)))
        await _ensure(verbs, core_v1.ServiceAccount(metadata=meta_v1.ObjectMeta(name="default", namespace=name)))
    await _ensure(verbs, _service_range(settings))
    await _ensure(verbs, _api_service(settings))
    if is_reached(settings):
        await _ensure(verbs, _api_slice(settings))


def is_reached(settings: ServerSettings) -> bool:
    """Whether pods and nodes reach this control plane: on a loopback address they would find themselves."""
    return not ipaddress.ip_address(settings.advertise_address).is_loopback


async def note_account_key(verbs: Verbs, key_id: str) -> None:
    """Notes which key signs the cluster's tokens, and complains where this control plane has another one."""
    metadata = meta_v1.ObjectMeta(name=ACCOUNT_KEY, namespace=SYSTEM)
    await _ensure(verbs, core_v1.ConfigMap(metadata=metadata, data={"keyID": key_id}))
    noted = verbs.registry.view.get(kinds.CONFIG_MAP, SYSTEM, ACCOUNT_KEY)
    if noted is not None and noted.data.get("keyID") != key_id:
        _LOG.error(
            "account_key_differs",
            hint="other control planes refuse the tokens that this one signs: copy pki/sa.key from one of them and "
            f"start again; if their key is gone for good, delete the config map {ACCOUNT_KEY} in {SYSTEM}",
        )


def epoch(verbs: Verbs) -> str:
    """The cluster's identity: the uid of its system namespace, the same for all control planes."""
    namespace = verbs.registry.view.get(kinds.NAMESPACE, "", SYSTEM)
    if namespace is None:
        raise errors.InternalError(f"the namespace {SYSTEM} is missing; it is made at start")
    return namespace.metadata.uid


async def first_token(verbs: Verbs, authority: Pki, settings: ServerSettings, now: Instant, ids: Ids) -> None:
    """Writes a join token into the token file, unless the one there is still good."""
    file = settings.token_file
    if file.exists():
        try:
            token = join.check_token(file.read_text(), verbs.registry.view, now)
        except join.TokenRefused:
            token = None
        if token is not None and token.ca_hash == authority.ca_hash:
            return
        file.unlink()
    token = join.new_token(authority.ca_hash, ids)
    await _create(verbs, join.token_secret(token, times.render(now + join.DEFAULT_TTL_S * 1000)))
    file.touch(mode=0o600)
    file.write_text(f"{token}\n")


async def _create(verbs: Verbs, obj: Object) -> Any:
    kind = kinds.kind_of(obj)
    return await verbs.writes.create(
        kind, obj.metadata.namespace, obj, WriteOptions(internal=True, manager="kube-apiserver")
    )


async def _ensure(verbs: Verbs, obj: Object) -> None:
    if _is_there(verbs, obj):
        return
    try:
        await _create(verbs, obj)
    except (errors.AlreadyExists, errors.Invalid):
        # Another control plane may have been faster; a service's address is then taken before its name is.
        await verbs.registry.fresh()
        if not _is_there(verbs, obj):
            raise


def _is_there(verbs: Verbs, obj: Object) -> bool:
    metadata = obj.metadata
    return verbs.registry.view.get(kinds.kind_of(obj), metadata.namespace, metadata.name) is not None


def _service_range(settings: ServerSettings) -> networking_v1.ServiceCIDR:
    return networking_v1.ServiceCIDR(
        metadata=meta_v1.ObjectMeta(name=DEFAULT_RANGE),
        spec=networking_v1.ServiceCIDRSpec(cidrs=(settings.service_cidr,)),
    )


def _api_service(settings: ServerSettings) -> core_v1.Service:
    port = core_v1.ServicePort(name="https", port=443, target_port=settings.https_port, protocol="TCP")
    return core_v1.Service(
        metadata=meta_v1.ObjectMeta(
            name=API_SERVICE, namespace="default", labels={"component": "apiserver", "provider": "kubernetes"}
        ),
        spec=core_v1.ServiceSpec(cluster_ip=api_address(settings.service_cidr), ports=(port,)),
    )


def api_address(service_cidr: str) -> str:
    """The first service address: where pods find the API."""
    return str(ipaddress.IPv4Network(service_cidr)[1])


def _api_slice(settings: ServerSettings) -> discovery_v1.EndpointSlice:
    return discovery_v1.EndpointSlice(
        metadata=meta_v1.ObjectMeta(
            name=API_SERVICE, namespace="default", labels={"kubernetes.io/service-name": API_SERVICE}
        ),
        address_type="IPv4",
        endpoints=(
            discovery_v1.Endpoint(
                addresses=(settings.advertise_address,), conditions=discovery_v1.EndpointConditions(ready=True)
            ),
        ),
        ports=(discovery_v1.EndpointPort(name="https", port=settings.https_port, protocol="TCP"),),
    )
