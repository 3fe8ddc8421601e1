"""A Job's pods: which have ended how, which index each works on, and what a new one looks like.

A pod carries a finalizer until its end has been counted, so that none is lost or counted twice: its uid is first noted
in the status as uncounted, then the finalizer is taken off, then the count is raised and the note struck out. Whoever
goes on after a crash finds in these three places where it stopped. Ends of indexed pods that succeeded need no count:
their indexes are a set.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import msgspec

from controlplane.reconcilers import podstate, podtemplate
from mizzen.api import times
from mizzen.api.types import batch_v1, core_v1
from mizzen.engine.effects import Update
from mizzen.engine.values import Ids, Instant

FINALIZER = "batch.kubernetes.io/job-tracking"
INDEX = "batch.kubernetes.io/job-completion-index"
"""On pods, as a label and an annotation."""
FAILURES = "batch.kubernetes.io/job-index-failure-count"
"""On pods of jobs with a limit per index: how often the index had failed before."""
INDEX_VARIABLE = "JOB_COMPLETION_INDEX"
INDEXED = "Indexed"


def is_over(pod: core_v1.Pod) -> bool:
    """It has ended for good, or was taken away and has stopped."""
    gone = pod.metadata.deletion_timestamp is not None and pod.metadata.deletion_grace_period_seconds == 0
    return podstate.is_finished(pod) or gone


def awaits_ends(job: batch_v1.Job) -> bool:
    """Whether a pod that was told to go holds its place until it has ended."""
    return job.spec.pod_replacement_policy == "Failed"


def is_tracked(pod: core_v1.Pod) -> bool:
    """Its end has not been counted to the last step."""
    return FINALIZER in pod.metadata.finalizers


def released(pod: core_v1.Pod) -> Update:
    """The pod without the finalizer."""
    kept = tuple(finalizer for finalizer in pod.metadata.finalizers if finalizer != FINALIZER)
    return Update(msgspec.structs.replace(pod, metadata=msgspec.structs.replace(pod.metadata, finalizers=kept)))


def is_indexed(job: batch_v1.Job) -> bool:
    """Every pod works on an index of its own."""
    return job.spec.completion_mode == INDEXED


def index_of(pod: core_v1.Pod, completions: int | None) -> int | None:
    """The index that a pod works on; None where it has none, or one that the job has not."""
    text = pod.metadata.annotations.get(INDEX, "")
    index = int(text) if text.isascii() and text.isdigit() else None
    return index if index is not None and (completions is None or index < completions) else None


def ended_ms(pod: core_v1.Pod) -> Instant:
    """When a pod that is over, or counts as such, has ended, as well as it can be told."""
    ended = [status.state.terminated for status in pod.status.container_statuses]
    stamps = [one.finished_at for one in ended if one is not None and one.finished_at]
    if stamps and len(stamps) == len(ended):
        return max(map(times.parse, stamps))
    ready = podstate.condition(pod, "Ready")
    if ready is not None and ready.status == "False" and ready.last_transition_time:
        return times.parse(ready.last_transition_time)
    if pod.metadata.deletion_timestamp is not None:
        return times.parse(pod.metadata.deletion_timestamp) - (pod.metadata.deletion_grace_period_seconds or 0) * 1000
    return times.parse(pod.metadata.creation_timestamp) if pod.metadata.creation_timestamp else 0


@dataclass(slots=True)
class Sorted:
    """A job's pods by what has become of them."""

    active: list[core_v1.Pod] = field(default_factory=list)
    """Neither over nor on their way out."""
    leaving: list[core_v1.Pod] = field(default_factory=list)
    """On their way out and not over yet."""
    succeeded: list[core_v1.Pod] = field(default_factory=list)
    failed: list[core_v1.Pod] = field(default_factory=list)
    """With those on their way out, unless the job awaits their ends: they are replaced, so they count now."""


def sort(job: batch_v1.Job, pods: Iterable[core_v1.Pod]) -> Sorted:
    """Sorts a job's pods."""
    found = Sorted()
    for pod in pods:
        if is_over(pod):
            (found.succeeded if pod.status.phase == "Succeeded" else found.failed).append(pod)
        elif pod.metadata.deletion_timestamp is None:
            found.active.append(pod)
        else:
            found.leaving.append(pod)
            if not awaits_ends(job):
                found.failed.append(pod)
    return found


def new_pod(job: batch_v1.Job, index: int | None, failures: int | None, ids: Ids) -> core_v1.Pod:
    """A pod for an index, or for any piece of work; `failures` is noted where the job limits them per index."""
    owner_name = job.metadata.name
    ending = "-" if index is None else f"-{index}-"
    prefix = owner_name[: podtemplate.BASE_MAX - len(ending)] + ending
    name = prefix + ids.suffix(f"pod/{job.metadata.uid}")
    pod = podtemplate.named_pod(job, job.spec.template, name, generate_name=prefix)
    labels, annotations = dict(pod.metadata.labels), dict(pod.metadata.annotations)
    if index is not None:
        labels[INDEX] = annotations[INDEX] = str(index)
    if failures is not None:
        annotations[FAILURES] = str(failures)
    metadata = msgspec.structs.replace(
        pod.metadata, labels=labels, annotations=annotations, finalizers=(*pod.metadata.finalizers, FINALIZER)
    )
    spec = pod.spec if index is None else _with_index(pod.spec, f"{owner_name}-{index}")
    return msgspec.structs.replace(pod, metadata=metadata, spec=spec)


def _with_index(spec: core_v1.PodSpec, hostname: str) -> core_v1.PodSpec:
    source = core_v1.EnvVarSource(field_ref=core_v1.ObjectFieldSelector(field_path=f"metadata.labels['{INDEX}']"))
    variable = core_v1.EnvVar(name=INDEX_VARIABLE, value_from=source)
    return msgspec.structs.replace(
        spec,
        hostname=hostname,
        containers=tuple(_knowing(container, variable) for container in spec.containers),
        init_containers=tuple(_knowing(container, variable) for container in spec.init_containers),
    )


def _knowing(container: core_v1.Container, variable: core_v1.EnvVar) -> core_v1.Container:
    if any(known.name == variable.name for known in container.env):
        return container
    return msgspec.structs.replace(container, env=(*container.env, variable))


def failures_of(pod: core_v1.Pod) -> int:
    """How often a pod's index had failed before it."""
    text = pod.metadata.annotations.get(FAILURES, "")
    return int(text) if text.isascii() and text.isdigit() else 0


# Sets of indexes, as the status tells them: `1,3-5,7`.


def parse_indexes(text: str) -> set[int]:
    """The indexes of a list in a status or a success policy."""
    found: set[int] = set()
    for part in text.split(",") if text else ():
        first, hyphen, last = part.partition("-")
        found.update(range(int(first), int(last if hyphen else first) + 1))
    return found


def render_indexes(indexes: Iterable[int]) -> str:
    """The list of a set of indexes: three and more in a row as a range."""
    runs: list[list[int]] = []
    for index in sorted(indexes):
        if runs and runs[-1][1] == index - 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    return ",".join(_run(first, last) for first, last in runs)


def _run(first: int, last: int) -> str:
    if first == last:
        return str(first)
    return f"{first},{last}" if last == first + 1 else f"{first}-{last}"


def surplus(job: batch_v1.Job, active: Sequence[core_v1.Pod]) -> list[core_v1.Pod]:
    """Pods that work for nothing: of an index that another works on already, or that the job has not (any more)."""
    if not is_indexed(job):
        return []
    kept: set[int] = set()
    found = []
    for pod in sorted(active, key=lambda p: (not podstate.is_ready(p), p.metadata.creation_timestamp or "")):
        index = index_of(pod, job.spec.completions)
        if index is None or index in kept:
            found.append(pod)
        else:
            kept.add(index)
    return found
