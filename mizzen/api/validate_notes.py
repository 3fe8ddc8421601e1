"""The rules for what workloads ask for beyond Kubernetes: see `workloads`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mizzen.api import canary_steps, config_versions, dependencies, workloads
from mizzen.api.errors import FieldError
from mizzen.api.types import apps_v1 as apps
from mizzen.api.types import batch_v1 as batch
from mizzen.api.types import core_v1 as core
from mizzen.api.validate_common import Errors

_WORKLOADS = (apps.Deployment, apps.StatefulSet, apps.DaemonSet, batch.Job)


@dataclass(frozen=True, slots=True)
class _Setting:
    """One annotation that users write."""

    kinds: tuple[type[Any], ...]
    """Whose objects may carry it."""
    problem: Callable[[str, Any], str]
    """What is wrong with a value on an object, and what to write instead; empty where nothing is."""


def _switch(value: str, _: Any) -> str:
    return "" if value in ("true", "false") else 'write "true" or "false"'


def _canary(value: str, deployment: apps.Deployment) -> str:
    try:
        canary_steps.parse(value)
    except ValueError as error:
        return str(error)
    return "" if deployment.spec.strategy.type == "RollingUpdate" else "set spec.strategy.type to RollingUpdate"


def _promotion(value: str, _: Any) -> str:
    return "" if value in ("true", workloads.PROMOTE_FULL) else 'write "true" for the next step, "full" for all of them'


def _rebalance(value: str, deployment: apps.Deployment) -> str:
    if value not in ("true", "false", workloads.REBALANCE_SCRATCH):
        return f'write "true" or "false", or "{workloads.REBALANCE_SCRATCH}" to move pods that lose an emptyDir by it'
    return "" if deployment.spec.strategy.type == "RollingUpdate" else "set spec.strategy.type to RollingUpdate"


def _surge(value: str, deployment: apps.Deployment) -> str:
    if problem := _switch(value, deployment):
        return problem
    return "" if deployment.spec.strategy.type == "RollingUpdate" else "set spec.strategy.type to RollingUpdate"


_SETTINGS = {
    workloads.SURGE_BEFORE_EVICT: _Setting((apps.Deployment,), _surge),
    workloads.REBALANCE: _Setting((apps.Deployment,), _rebalance),
    workloads.AUTO_ROLLBACK: _Setting((apps.Deployment,), _switch),
    workloads.CONFIG_ROLLOUT: _Setting((apps.Deployment, apps.StatefulSet, apps.DaemonSet), _switch),
    workloads.CANARY: _Setting((apps.Deployment,), _canary),
    workloads.PROMOTE: _Setting((apps.Deployment,), _promotion),
}


_OF_PODS: dict[str, Callable[[str], object]] = {
    workloads.DEPENDS_ON: dependencies.parse,
    workloads.CONFIG_VERSIONS: config_versions.parse,
}


def workload(obj: Any) -> Errors:
    """What is wrong with the annotations of an object; nothing for kinds that have none of these."""
    if isinstance(obj, core.Pod):
        yield from _of_pods("metadata", obj.metadata.annotations)
    if not isinstance(obj, _WORKLOADS):
        return
    yield from _of_pods("spec.template.metadata", obj.spec.template.metadata.annotations)
    for name, value in sorted(obj.metadata.annotations.items()):
        if name.startswith(workloads.PREFIX) and name not in workloads.REMEMBERED:
            yield from _annotation(f"metadata.annotations[{name}]", name, value, obj)


def _of_pods(path: str, annotations: Mapping[str, str]) -> Errors:
    for name, parse in _OF_PODS.items():
        if name in annotations:
            try:
                parse(annotations[name])
            except ValueError as error:
                yield FieldError.invalid(f"{path}.annotations[{name}]", annotations[name], str(error))


def _annotation(field: str, name: str, value: str, obj: Any) -> Errors:
    setting = _SETTINGS.get(name)
    if name in _OF_PODS:
        yield FieldError.invalid(field, value, "this is for pods: move it to spec.template.metadata.annotations")
    elif setting is None:
        known = ", ".join(sorted((*_SETTINGS, *_OF_PODS)))
        yield FieldError.invalid(field, value, f"there is no such setting: remove it, or use one of {known}")
    elif not isinstance(obj, setting.kinds):
        fit = " or ".join(kind.__name__ for kind in setting.kinds)
        yield FieldError.invalid(field, value, f"this works on a {fit}, not on a {obj.kind}: remove it")
    elif problem := setting.problem(value, obj):
        yield FieldError.invalid(field, value, problem)
