"""The selector of a job: made from its uid, so that no two jobs count each other's pods."""

from __future__ import annotations

from msgspec.structs import replace

from mizzen.api.types import batch_v1 as batch
from mizzen.api.types import meta_v1 as meta
from mizzen.api.validate_batch import CONTROLLER_UID, JOB_NAME, OLD_CONTROLLER_UID, OLD_JOB_NAME


def select(job: batch.Job) -> batch.Job:
    """The new job with its selector and the labels for its pods, unless its author gives them.

    Labels that are there already stay; validation refuses those that are not the job's.
    """
    spec = job.spec
    if spec.manual_selector:
        return job
    uid, name = job.metadata.uid, job.metadata.name
    made = {OLD_CONTROLLER_UID: uid, OLD_JOB_NAME: name, CONTROLLER_UID: uid, JOB_NAME: name}
    metadata = replace(spec.template.metadata, labels={**made, **spec.template.metadata.labels})
    selector = spec.selector or meta.LabelSelector()
    selector = replace(selector, match_labels={CONTROLLER_UID: uid, **selector.match_labels})
    return replace(job, spec=replace(spec, selector=selector, template=replace(spec.template, metadata=metadata)))
