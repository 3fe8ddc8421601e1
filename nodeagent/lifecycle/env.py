"""The environment of a container: what `env`, `envFrom` and the services of the namespace come to. Pure.

Order, as in Kubernetes: `envFrom` first, then `env` (which wins), then the services' variables for names that are
still free. `$(NAME)` in a value stands for a variable set before it or a service's; one that is unknown stays as it
is written, and `$$` is a plain `$`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from mizzen.api.types import core_v1 as core
from nodeagent.lifecycle.downward import ConfigError, Sources, field_text, resource_text
from nodeagent.lifecycle.envfile import EnvFileError, value_in

_REFERENCE = re.compile(r"\$(?:\$|\(([^)]*)\))")
_MASTER = ("default", "kubernetes")


def environment(pod: core.Pod, container: core.Container, sources: Sources) -> dict[str, str]:
    """All variables of a container. Raises ConfigError."""
    links = service_variables(pod, sources.services)
    found: dict[str, str] = {}
    for source in container.env_from:
        found.update(_from(source, sources))
    for variable in container.env:
        value = _value(pod, container, variable, sources, found, links)
        if value is not None:
            found[variable.name] = value
    return found | {name: links[name] for name in sorted(links) if name not in found}


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace `$(NAME)` by the variable's value; unknown names stay as they are. For commands and args."""
    return _REFERENCE.sub(lambda match: _known(match, variables.get), text)


def expand_path(text: str, variables: Mapping[str, str]) -> str:
    """Replace `$(NAME)` by the variable's value; an unknown name is an error. For `subPathExpr`."""

    def find(name: str) -> str:
        if name not in variables:
            raise ConfigError(f"missing value for {_go_quoted(name)}")
        return variables[name]

    return _REFERENCE.sub(lambda match: _known(match, find), text)


def service_variables(pod: core.Pod, services: Sequence[core.Service]) -> dict[str, str]:
    """The variables that tell of services with an address: the pod's namespace's, and always the API's own."""
    links = pod.spec.enable_service_links is not False
    found: dict[str, str] = {}
    for service in sorted(services, key=lambda s: (s.metadata.namespace == pod.metadata.namespace, s.metadata.name)):
        where = (service.metadata.namespace, service.metadata.name)
        wanted = (links and where[0] == pod.metadata.namespace) or where == _MASTER
        if wanted and service.spec.cluster_ip not in ("", "None"):
            found.update(_of_service(service))
    return found


def _known(match: re.Match[str], find: Callable[[str], str | None]) -> str:
    if match[0] == "$$":
        return "$"
    value = find(match[1])
    return match[0] if value is None else value


def _go_quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _from(source: core.EnvFromSource, sources: Sources) -> Mapping[str, str]:
    data: Mapping[str, str] = {}
    if (config := source.config_map_ref) is not None:
        found = sources.config_map(config.name, optional=bool(config.optional))
        data = found.data if found else {}
    elif (ref := source.secret_ref) is not None:
        secret = sources.secret(ref.name, optional=bool(ref.optional))
        data = {key: _text(value) for key, value in secret.data.items()} if secret else {}
    return {source.prefix + key: data[key] for key in sorted(data)}


def _value(
    pod: core.Pod,
    container: core.Container,
    variable: core.EnvVar,
    sources: Sources,
    found: Mapping[str, str],
    links: Mapping[str, str],
) -> str | None:
    """The variable's value; None when it is optional and there is none."""
    source = variable.value_from
    if variable.value or source is None:
        return expand(variable.value, {**links, **found})
    if source.field_ref is not None:
        return field_text(pod, source.field_ref.field_path, sources)
    if source.resource_field_ref is not None:
        return resource_text(pod, container.name, source.resource_field_ref, sources)
    if source.config_map_key_ref is not None:
        return _config_map_key(pod, source.config_map_key_ref, sources)
    if source.secret_key_ref is not None:
        return _secret_key(pod, source.secret_key_ref, sources)
    if source.file_key_ref is not None:
        return _file_key(source.file_key_ref, sources)
    raise ConfigError(f"environment variable {variable.name} has no source that this node knows")


def files_of(container: core.Container) -> tuple[tuple[str, str], ...]:
    """The files in volumes that a container's variables are read from, by volume and path."""
    sources = (variable.value_from for variable in container.env)
    refs = (source.file_key_ref for source in sources if source is not None)
    return tuple(dict.fromkeys((ref.volume_name, ref.path) for ref in refs if ref is not None))


def _file_key(ref: core.FileKeySelector, sources: Sources) -> str | None:
    text = sources.files.get((ref.volume_name, ref.path))
    if text is None:
        if ref.optional:
            return None
        raise ConfigError(f'environment variable file "{ref.path}" not found in volume "{ref.volume_name}"')
    try:
        value = value_in(text, ref.key)
    except EnvFileError as error:
        raise ConfigError(f'couldn\'t parse environment variable file "{ref.path}": {error}') from error
    if value is None and not ref.optional:
        raise ConfigError(f'environment variable key "{ref.key}" not found in file "{ref.path}"')
    return value


def _config_map_key(pod: core.Pod, ref: core.ConfigMapKeySelector, sources: Sources) -> str | None:
    found = sources.config_map(ref.name, optional=bool(ref.optional))
    if found is None:
        return None
    if ref.key not in found.data and not ref.optional:
        raise ConfigError(f"couldn't find key {ref.key} in ConfigMap {pod.metadata.namespace}/{ref.name}")
    return found.data.get(ref.key)


def _secret_key(pod: core.Pod, ref: core.SecretKeySelector, sources: Sources) -> str | None:
    found = sources.secret(ref.name, optional=bool(ref.optional))
    if found is None:
        return None
    if ref.key not in found.data and not ref.optional:
        raise ConfigError(f"couldn't find key {ref.key} in Secret {pod.metadata.namespace}/{ref.name}")
    value = found.data.get(ref.key)
    return None if value is None else _text(value)


def _text(value: bytes) -> str:
    """Environments are text all the way to the engine; a byte that is none becomes a replacement character."""
    return value.decode("utf-8", "replace")


def _of_service(service: core.Service) -> Iterator[tuple[str, str]]:
    """The variables of one service, as Kubernetes and before it Docker named them."""
    prefix = _variable_name(service.metadata.name)
    address = service.spec.cluster_ip
    host = f"[{address}]" if ":" in address else address
    ports = service.spec.ports
    yield f"{prefix}_SERVICE_HOST", address
    if ports:
        yield f"{prefix}_SERVICE_PORT", str(ports[0].port)
    for port in ports:
        if port.name:
            yield f"{prefix}_SERVICE_PORT_{_variable_name(port.name)}", str(port.port)
    for index, port in enumerate(ports):
        protocol = port.protocol or "TCP"
        url = f"{protocol.lower()}://{host}:{port.port}"
        if index == 0:
            yield f"{prefix}_PORT", url
        link = f"{prefix}_PORT_{port.port}_{protocol.upper()}"
        yield link, url
        yield f"{link}_PROTO", protocol.lower()
        yield f"{link}_PORT", str(port.port)
        yield f"{link}_ADDR", address


def _variable_name(name: str) -> str:
    return name.upper().replace("-", "_")
