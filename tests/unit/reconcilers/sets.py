"""A small cluster in which a controller is run until nothing changes, with kubelets that make pods ready or not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from mizzen.api import kinds, times
from mizzen.api.types import core_v1
from mizzen.base.ids import SeededIds
from mizzen.engine.controller import Controller
from mizzen.engine.effects import Create, Decision, Delete, Effect, Emit, Update, UpdateStatus
from mizzen.engine.overlay import Overlay
from mizzen.engine.values import Instant, Key
from tests.fixtures.cluster_objects import NOW, view

TURNS_MAX = 200
Kubelet = Callable[[core_v1.Pod], core_v1.Pod | None]
"""What becomes of a pod; None: it goes away, if it is on its way out."""


def running(pod: core_v1.Pod, *, ready: bool = True, now: Instant = NOW) -> core_v1.Pod:
    """The pod, running on its node."""
    condition = core_v1.PodCondition(
        type="Ready", status="True" if ready else "False", last_transition_time=times.render(now)
    )
    return msgspec.structs.replace(pod, status=core_v1.PodStatus(phase="Running", conditions=(condition,)))


def faithful(pod: core_v1.Pod) -> core_v1.Pod | None:
    """A kubelet that starts what it is given and stops what it should."""
    return None if pod.metadata.deletion_timestamp else running(pod)


class Rig:
    """Objects, one controller, and what it has done so far."""

    def __init__(self, controller: Controller, *objects: Any) -> None:
        self.objects: dict[tuple[str, str, str], Any] = {}
        self.told: list[str] = []
        self.controller = controller
        self.ids = SeededIds(1)
        self.now = NOW
        self._version = 1
        for obj in objects:
            self.put(obj)

    def put(self, obj: Any) -> Any:
        """Store an object."""
        self._version += 1
        uid = obj.metadata.uid or f"uid-{obj.metadata.name}-{self._version}"
        stamp = obj.metadata.creation_timestamp or times.render(self.now)
        metadata = msgspec.structs.replace(
            obj.metadata, uid=uid, resource_version=str(self._version), creation_timestamp=stamp
        )
        obj = msgspec.structs.replace(obj, metadata=metadata)
        self.objects[_place(obj)] = obj
        return obj

    def get(self, kind: kinds.Kind[Any], name: str) -> Any:
        """An object of the namespace `default`, or of none."""
        return self.objects[(kind.resource, "default" if kind.namespaced else "", name)]

    def list(self, kind: kinds.Kind[Any]) -> list[Any]:
        """All objects of a kind by name."""
        return [obj for place, obj in sorted(self.objects.items()) if place[0] == kind.resource]

    @property
    def pods(self) -> list[str]:
        """The names of the pods, those on their way out in brackets."""
        return [
            f"({p.metadata.name})" if p.metadata.deletion_timestamp else p.metadata.name for p in self.list(kinds.POD)
        ]

    @property
    def view(self) -> Overlay:
        """What the controller sees."""
        return view(*self.objects.values())

    def turn(self, name: str = "web") -> Decision:
        """Decide once and perform."""
        decision = self.controller.reconcile(
            Key(self.controller.kind.resource, "default", name), self.view, self.now, self.ids
        )
        for effect in decision.effects:
            self._perform(effect)
        return decision

    def settle(self, name: str = "web") -> None:
        """Decide until there is nothing to do."""
        for _ in range(TURNS_MAX):
            if not self.turn(name).effects:
                return
        raise AssertionError(f"the controller does not come to rest: {self.told[-10:]}")

    def kubelets(self, act: Kubelet = faithful) -> None:
        """Every pod's kubelet does its part once."""
        for pod in self.list(kinds.POD):
            after = act(pod)
            if after is None:
                self._stopped(pod)
            elif after != pod:
                self.put(after)

    def rounds(self, count: int, act: Kubelet = faithful) -> None:
        """The controller and the kubelets in turn."""
        for _ in range(count):
            self.settle()
            self.kubelets(act)
        self.settle()

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Create(obj):
                assert _place(obj) not in self.objects, f"{obj.metadata.name} is there already"
                self.told.append(f"create {obj.metadata.name}")
                self.put(obj)
            case Update(obj):
                now = self.objects[_place(obj)]
                self.put(msgspec.structs.replace(obj, status=now.status) if hasattr(obj, "status") else obj)
                if obj.metadata.deletion_grace_period_seconds == 0 and not obj.metadata.finalizers:
                    del self.objects[_place(obj)]
            case UpdateStatus(obj):
                now = self.objects[_place(obj)]
                self.put(msgspec.structs.replace(now, status=obj.status))
            case Delete(key):
                self._delete(key)
            case Emit():
                self.told.append(f"{effect.reason}: {effect.message}")
            case _:
                raise AssertionError(f"no controller under test does this: {effect}")

    def _delete(self, key: Key) -> None:
        obj = self.objects[tuple(key)]  # type: ignore[index]  # a key is the place
        self.told.append(f"delete {key.name}")
        if key.resource == "pods" and obj.status.phase == "Running":
            gone = msgspec.structs.replace(obj.metadata, deletion_timestamp=times.render(self.now))
            self.put(msgspec.structs.replace(obj, metadata=gone))
        else:
            self._stopped(obj)

    def _stopped(self, obj: Any) -> None:
        """It goes, unless a finalizer holds it."""
        if not obj.metadata.finalizers:
            del self.objects[_place(obj)]
            return
        held = msgspec.structs.replace(
            obj.metadata, deletion_timestamp=times.render(self.now), deletion_grace_period_seconds=0
        )
        self.put(msgspec.structs.replace(obj, metadata=held))


def _place(obj: Any) -> tuple[str, str, str]:
    kind = kinds.kind_of(obj)
    return (kind.resource, obj.metadata.namespace, obj.metadata.name)
