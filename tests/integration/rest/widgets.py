"""The kind that the tests of custom resources define."""

from __future__ import annotations

from typing import Any

SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "A widget of some size.",
    "required": ["spec"],
    "properties": {
        "spec": {
            "type": "object",
            "required": ["size"],
            "properties": {
                "size": {"type": "string", "enum": ["small", "large"], "description": "How big it is."},
                "replicas": {"type": "integer", "minimum": 0, "maximum": 10, "default": 1},
                "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            },
        },
        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    },
}
VERSION: dict[str, Any] = {
    "name": "v1",
    "served": True,
    "storage": True,
    "subresources": {
        "status": {},
        "scale": {
            "specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector",
        },
    },
    "additionalPrinterColumns": [
        {"name": "Size", "type": "string", "jsonPath": ".spec.size"},
        {"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas"},
        {
            "name": "Ready",
            "type": "string",
            "jsonPath": '.status.conditions[?(@.type=="Ready")].status',
            "priority": 1,
        },
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    ],
    "selectableFields": [{"jsonPath": ".spec.size"}],
    "schema": {"openAPIV3Schema": SCHEMA},
}
NAMES: dict[str, Any] = {"plural": "widgets", "kind": "Widget", "shortNames": ["wd"], "categories": ["all"]}
DEFINITION = "widgets.example.com"


def definition(*versions: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """The definition of widgets, with these versions in place of the usual one."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": DEFINITION},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": NAMES, "versions": [*(versions or (VERSION,))]}
        | spec,
    }


def widget(name: str, **spec: Any) -> dict[str, Any]:
    """A small widget, or what `spec` makes of it."""
    return {
        "apiVersion": "example.com/v1",
        "kind": "Widget",
        "metadata": {"name": name},
        "spec": {"size": "small"} | spec,
    }
