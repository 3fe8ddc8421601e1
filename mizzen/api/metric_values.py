"""Metrics beside processors and memory, as `custom.metrics.k8s.io` and `external.metrics.k8s.io` name and tell them.

Vocabulary
- *asked*: which values are wanted, the same for whoever serves them.
- *series*: what one metric is with one set of labels; selectors of series are on those labels.
- *described object*: what a value is of. External values are of nothing in the cluster.

Source: k8s.io/metrics, packages custom_metrics and external_metrics.
"""

from __future__ import annotations

from dataclasses import dataclass

CUSTOM = "custom.metrics.k8s.io"
EXTERNAL = "external.metrics.k8s.io"
CUSTOM_VERSIONS = ("v1beta2", "v1beta1")
"""The best first."""
EXTERNAL_VERSIONS = ("v1beta1",)
PODS, NAMESPACES = "pods", "namespaces"
ALL = "*"
"""The name that stands for all objects that labels select."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Which values are wanted."""

    namespace: str
    metric: str
    series: str = ""
    """A selector of series in text; empty for all."""
    resource: str = ""
    """The described objects: `pods`, `deployments.apps`, `namespaces`; empty for an external metric."""
    name: str = ""
    """The described object; `*` for all that `labels` selects. A namespace is named by `namespace`."""
    labels: str = ""
    """A selector of described objects in text; empty for all."""

    @property
    def group(self) -> str:
        """The group of the API that answers it."""
        return CUSTOM if self.resource else EXTERNAL


@dataclass(frozen=True, slots=True)
class Value:
    """One value."""

    name: str
    """The described object; empty where there is none."""
    milli: int
    """Thousandths."""
