"""The tables of what is measured: pods and nodes with what they use, and how the control plane's parts feel."""

from __future__ import annotations

from controlplane.server.tables.model import NAME, Row, TableOf, column
from mizzen.api import quantity, resources
from mizzen.api.types import core_v1 as core
from mizzen.api.types import metrics_v1beta1 as metrics
from mizzen.engine.values import Instant

_COLUMNS = (
    NAME,
    column("cpu", "Processors used, the mean of the window."),
    column("memory", "Memory used."),
    column("Window", "How long it was measured."),
)


def node_row(obj: metrics.NodeMetrics, now: Instant) -> Row:
    """The cells of one node."""
    del now
    return Row((obj.metadata.name, obj.usage[resources.CPU], obj.usage[resources.MEMORY], obj.window))


def pod_row(obj: metrics.PodMetrics, now: Instant) -> Row:
    """The cells of one pod: the sums of its containers."""
    del now
    cpu, memory = "0", "0"
    for container in obj.containers:
        cpu = quantity.add(cpu, container.usage[resources.CPU])
        memory = quantity.add(memory, container.usage[resources.MEMORY])
    return Row((obj.metadata.name, cpu, memory, obj.window))


def component_row(obj: core.ComponentStatus, now: Instant) -> Row:
    """The cells of one part of the control plane."""
    del now
    for condition in obj.conditions:
        if condition.type == "Healthy":
            status = _FEELINGS.get(condition.status, "Unknown")
            return Row((obj.metadata.name, status, condition.message, condition.error))
    return Row((obj.metadata.name, "Unknown", "", ""))


_FEELINGS = {"True": "Healthy", "False": "Unhealthy"}
COMPONENT_TABLE = TableOf(
    (
        NAME,
        column("Status", "Healthy, Unhealthy or Unknown."),
        column("Message", "What the component says."),
        column("Error", "What is wrong with it."),
    ),
    component_row,
)
NODE_TABLE = TableOf(_COLUMNS, node_row)
POD_TABLE = TableOf(_COLUMNS, pod_row)
