"""The objects that the tests make, each as short as what it is for allows."""

from __future__ import annotations

from typing import Any

Manifest = dict[str, Any]

PORT = 8080
"""Where the demo image serves."""


FOREVER = "trap exit TERM; sleep 1000 & wait"
"""A script that waits, and ends when it is asked to: a first process has to want that."""


def container(name: str = "main", image: str = "demo:v1", **fields: Any) -> Manifest:
    """A container of the demo image."""
    return {"name": name, "image": image, **fields}


def shell(script: str = FOREVER, name: str = "main", **fields: Any) -> Manifest:
    """A container that runs a script."""
    return container(name, command=["sh", "-c", script], **fields)


def web_container(image: str = "demo:v1", **fields: Any) -> Manifest:
    """The demo image as a web server that says when it is ready."""
    probe = {"httpGet": {"path": "/healthz", "port": PORT}, "periodSeconds": 1}
    return container("web", image, ports=[{"containerPort": PORT}], readinessProbe=probe, **fields)


def pod(name: str, *containers: Manifest, **spec: Any) -> Manifest:
    """A pod that goes at once when it has to."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": list(containers), **spec},
    }


def python_pod(name: str, script: str = FOREVER, **spec: Any) -> Manifest:
    """A pod with the machine's own Python, because the demo image has no TLS that checks or shows certificates."""
    folders = {"usr": "/usr", "lib": "/usr/lib", "lib64": "/usr/lib64"}
    volumes = [{"name": name, "hostPath": {"path": path}} for name, path in folders.items()]
    volumes += spec.pop("volumes", [])
    mounts = [{"name": one["name"], "mountPath": f"/{one['name']}", "readOnly": True} for one in volumes]
    return pod(name, shell(script, volumeMounts=mounts), volumes=volumes, **spec)


def deployment(name: str, replicas: int, template: Manifest | None = None, **spec: Any) -> Manifest:
    """A deployment of web servers, or of the pods that `template` (the spec of a pod) describes."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": template or {"terminationGracePeriodSeconds": 5, "containers": [web_container()]},
            },
            **spec,
        },
    }


def service(name: str, **spec: Any) -> Manifest:
    """A service in front of the web servers of the same name."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": PORT}], **spec},
    }


def leaving_dead_nodes(seconds: int) -> list[Manifest]:
    """Tolerations that bear a lost node for so many seconds; Kubernetes' default are 300."""
    return [
        {"key": f"node.kubernetes.io/{key}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds}
        for key in ("not-ready", "unreachable")
    ]
