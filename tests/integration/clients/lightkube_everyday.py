"""What a program does with lightkube; prints what it found as JSON.

python lightkube_everyday.py KUBECONFIG
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from typing import Any

from lightkube import ApiError, Client, KubeConfig, codecs
from lightkube.generic_resource import create_resources_from_crd
from lightkube.models.autoscaling_v1 import ScaleSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apiextensions_v1 import CustomResourceDefinition
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import ConfigMap, Namespace, Pod
from lightkube.types import CascadeType, PatchType

SPACE = "lightkube"
WAIT_S = 30.0
GROUP = "lightkube.example.com"
SHOP = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop}
spec:
  replicas: {{ replicas }}
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec: {containers: [{name: web, image: "web:1"}]}
"""
TALKER = """
apiVersion: v1
kind: Pod
metadata: {name: talker}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: main, image: "web:1", command: [sh, -c, "echo hello; sleep 1000000"]}]
"""
DEFINITION = f"""
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{name: wheels.{GROUP}}}
spec:
  group: {GROUP}
  names: {{plural: wheels, kind: Wheel}}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {{status: {{}}, scale: {{specReplicasPath: .spec.size, statusReplicasPath: .status.size}}}}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec: {{type: object, properties: {{size: {{type: integer}}}}}}
          status: {{type: object, properties: {{size: {{type: integer}}}}}}
"""
found: dict[str, Any] = {}


def code_of(call: Callable[[], Any]) -> int:
    """The code that a call, which must fail, fails with."""
    try:
        call()
    except ApiError as error:
        return int(error.status.code)
    raise AssertionError("it should fail")


def writes(client: Client) -> None:
    """A deployment from a template to its end."""
    (shop,) = codecs.load_all_yaml(SHOP, context={"replicas": 2})
    applied = client.apply(shop, namespace=SPACE)
    found["managed"] = next((one.manager, one.operation) for one in applied.metadata.managedFields)
    client.wait(Deployment, "shop", namespace=SPACE, for_conditions=["Available"])
    scale = Deployment.Scale(metadata=ObjectMeta(name="shop", namespace=SPACE), spec=ScaleSpec(replicas=3))
    found["scaled"] = client.replace(scale, "shop", namespace=SPACE).spec.replicas
    (fewer,) = codecs.load_all_yaml(SHOP, context={"replicas": 1})
    fewer.metadata.managedFields = None
    found["apart"] = code_of(lambda: client.apply(fewer, namespace=SPACE, field_manager="another"))
    found["forced"] = client.apply(fewer, namespace=SPACE, field_manager="another", force=True).spec.replicas
    client.patch(Deployment, "shop", {"metadata": {"labels": {"a": "b"}}}, namespace=SPACE)
    steps = [{"op": "remove", "path": "/metadata/labels/a"}]
    stepped = client.patch(Deployment, "shop", steps, namespace=SPACE, patch_type=PatchType.JSON)
    found["labels"] = stepped.metadata.labels
    found["conflict"] = code_of(lambda: client.replace(applied))
    found["missing"] = code_of(lambda: client.get(Pod, "nobody", namespace=SPACE))
    client.delete(Deployment, "shop", namespace=SPACE, cascade=CascadeType.FOREGROUND)
    for event, _ in client.watch(Deployment, namespace=SPACE, fields={"metadata.name": "shop"}):
        if event == "DELETED":
            break
    found["pods"] = list(client.list(Pod, namespace=SPACE, labels={"app": "shop"}))


def lists(client: Client) -> None:
    """Pages, a watch, and the end of many."""
    for name in ("a", "b", "c"):
        client.create(ConfigMap(metadata=ObjectMeta(name=name, namespace=SPACE, labels={"seen": "1"})))
    listed = client.list(ConfigMap, namespace=SPACE, labels={"seen": "1"}, chunk_size=1)
    found["pages"] = [one.metadata.name for one in listed]
    told: list[str] = []

    def follow() -> None:
        since = listed.resourceVersion
        for event, one in client.watch(ConfigMap, namespace=SPACE, labels={"seen": "1"}, resource_version=since):
            told.append(f"{event} {one.metadata.name}")
            if len(told) == 4:
                return

    following = threading.Thread(target=follow, daemon=True)
    following.start()
    client.patch(ConfigMap, "a", {"data": {"a": "b"}}, namespace=SPACE)
    client.deletecollection(ConfigMap, namespace=SPACE)
    following.join(WAIT_S)
    found["watched"] = [told[0], sorted(told[1:])]


def containers(client: Client) -> None:
    """Logs and exec."""
    (talker,) = codecs.load_all_yaml(TALKER)
    client.create(talker, namespace=SPACE)
    client.wait(Pod, "talker", namespace=SPACE, for_conditions=["Ready"])
    found["log"] = next(iter(client.log("talker", namespace=SPACE, follow=True)))
    said = client.exec("talker", namespace=SPACE, command=["echo", "from", "inside"], stdout=True)
    found["said"] = [said.stdout, said.exit_code]
    found["failed"] = client.exec("talker", namespace=SPACE, command=["sh", "-c", "exit 3"], stdout=True).exit_code
    echoed = client.exec("talker", namespace=SPACE, command=["cat"], stdin="in and out", stdout=True, timeout=WAIT_S)
    found["echoed"] = echoed.stdout


def customs(client: Client) -> None:
    """A kind of our own, with its scale and status."""
    (definition,) = codecs.load_all_yaml(DEFINITION)
    client.create(definition)
    client.wait(CustomResourceDefinition, f"wheels.{GROUP}", for_conditions=["Established"])
    create_resources_from_crd(definition)
    wheel = codecs.from_dict({"apiVersion": f"{GROUP}/v1", "kind": "Wheel", "metadata": {"name": "w"}})
    kind = type(wheel)
    wheel["spec"] = {"size": 3}
    made = client.create(wheel, namespace=SPACE)
    made["status"] = {"size": 2}
    status = kind.Status(made)
    found["custom"] = client.replace(status).status
    found["customScale"] = client.get(kind.Scale, "w", namespace=SPACE).spec.replicas
    client.delete(CustomResourceDefinition, f"wheels.{GROUP}")


def main(kubeconfig: str) -> None:
    """All of it, in a namespace of its own."""
    with Client(KubeConfig.from_file(kubeconfig), field_manager="lightkube") as client:
        client.create(Namespace(metadata=ObjectMeta(name=SPACE)))
        writes(client)
        lists(client)
        containers(client)
        customs(client)
        client.delete(Namespace, SPACE)
    sys.stdout.write(json.dumps(found))


main(sys.argv[1])
