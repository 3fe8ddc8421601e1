"""What objects get from the classes that they name, and from those that are the default."""

from __future__ import annotations

from typing import Any

import pytest

from mizzen.api import codec, kinds
from mizzen.api.errors import Forbidden
from mizzen.api.kinds import Kind
from tests.fixtures.admission import Cluster
from tests.fixtures.examples import example

EMPTY = Cluster.with_namespaces("default")
IS_DEFAULT = {
    kinds.STORAGE_CLASS: "storageclass.kubernetes.io/is-default-class",
    kinds.INGRESS_CLASS: "ingressclass.kubernetes.io/is-default-class",
}


def made(kind: Kind[Any], name: str = "", metadata: dict[str, Any] | None = None, **fields: Any) -> Any:
    """The example of a kind with other fields."""
    body = example(kind)
    body["metadata"] |= (metadata or {}) | ({"name": name} if name else {})
    spec = fields.pop("spec", {})
    body |= fields | ({"spec": body["spec"] | spec} if spec else {})
    return codec.decode_dict(body, kind)[0]


def marked(kind: Kind[Any], name: str, since: str = "2026-01-01T00:00:00Z") -> Any:
    """A class that is the default."""
    return made(kind, name, {"annotations": {IS_DEFAULT[kind]: "true"}, "creationTimestamp": since})


def pod(**spec: Any) -> Any:
    return made(kinds.POD, spec=spec)


def test_a_pod_has_the_priority_of_its_class() -> None:
    cluster = EMPTY.having(made(kinds.PRIORITY_CLASS, "gold", value=500, preemptionPolicy="Never"))
    spec = cluster.create(pod(priorityClassName="gold"), "default").object.spec
    assert (spec.priority, spec.preemption_policy) == (500, "Never")
    assert cluster.create(pod(), "default").object.spec.priority == 0
    with pytest.raises(Forbidden, match=r"the integer value of priority \(7\) must not be provided"):
        cluster.create(pod(priorityClassName="gold", priority=7), "default")
    with pytest.raises(Forbidden, match=r"PreemptionPolicy \(PreemptLowerPriority\) must not be provided"):
        cluster.create(pod(priorityClassName="gold", preemptionPolicy="PreemptLowerPriority"), "default")


def test_the_default_class_is_for_pods_that_name_none() -> None:
    cluster = EMPTY.having(made(kinds.PRIORITY_CLASS, "usual", value=5, globalDefault=True))
    spec = cluster.create(pod(), "default").object.spec
    assert (spec.priority_class_name, spec.priority) == ("usual", 5)
    with pytest.raises(Forbidden, match="PriorityClass usual is already marked as default"):
        cluster.create(made(kinds.PRIORITY_CLASS, "other", globalDefault=True), "")
    cluster.create(made(kinds.PRIORITY_CLASS, "plain"), "")


def test_a_pod_takes_what_its_runtime_class_takes() -> None:
    toleration = {"key": "vm", "operator": "Exists"}
    cluster = EMPTY.having(
        made(
            kinds.RUNTIME_CLASS, "vm", overhead={"podFixed": {"memory": "64Mi"}},
            scheduling={"nodeSelector": {"vm": "yes"}, "tolerations": [toleration]},
        )
    )  # fmt: skip
    spec = cluster.create(pod(runtimeClassName="vm", nodeSelector={"zone": "a"}), "default").object.spec
    assert spec.overhead == {"memory": "64Mi"}
    assert spec.node_selector == {"vm": "yes", "zone": "a"}
    assert "vm" in [given.key for given in spec.tolerations]
    for wrong, why in (
        ({"runtimeClassName": "other"}, 'RuntimeClass "other" not found'),
        (
            {"runtimeClassName": "vm", "overhead": {"memory": "1Mi"}},
            "Overhead doesn't match RuntimeClass's defined Over",
        ),
        ({"overhead": {"memory": "1Mi"}}, "Pod Overhead set without corresponding RuntimeClass defined Overhead"),
        ({"runtimeClassName": "vm", "nodeSelector": {"vm": "no"}}, r"conflict: runtimeClass\.scheduling\.nodeSelector"),
    ):
        with pytest.raises(Forbidden, match=why):
            cluster.create(pod(**wrong), "default")


def test_claims_get_the_newest_default_class() -> None:
    claim = made(kinds.PERSISTENT_VOLUME_CLAIM)
    assert EMPTY.create(claim, "default").object.spec.storage_class_name is None
    cluster = EMPTY.having(
        made(kinds.STORAGE_CLASS, "plain"),
        marked(kinds.STORAGE_CLASS, "old"),
        marked(kinds.STORAGE_CLASS, "new-b", "2026-02-01T00:00:00Z"),
        marked(kinds.STORAGE_CLASS, "new-a", "2026-02-01T00:00:00Z"),
    )
    assert cluster.create(claim, "default").object.spec.storage_class_name == "new-a"
    none = made(kinds.PERSISTENT_VOLUME_CLAIM, spec={"storageClassName": ""})
    assert cluster.create(none, "default").object.spec.storage_class_name == ""
    old = made(
        kinds.PERSISTENT_VOLUME_CLAIM, metadata={"annotations": {"volume.beta.kubernetes.io/storage-class": "x"}}
    )
    assert cluster.create(old, "default").object.spec.storage_class_name is None


def test_ingresses_get_the_default_class() -> None:
    cluster = EMPTY.having(marked(kinds.INGRESS_CLASS, "usual"))
    assert EMPTY.create(made(kinds.INGRESS), "default").object.spec.ingress_class_name is None
    assert cluster.create(made(kinds.INGRESS), "default").object.spec.ingress_class_name == "usual"
    named = made(kinds.INGRESS, spec={"ingressClassName": "mine"})
    assert cluster.create(named, "default").object.spec.ingress_class_name == "mine"
    old = made(kinds.INGRESS, metadata={"annotations": {"kubernetes.io/ingress.class": "x"}})
    assert cluster.create(old, "default").object.spec.ingress_class_name is None
