"""What the API refuses of jobs and cron jobs, and how it reads schedules."""

from __future__ import annotations

from typing import Any

import pytest

from mizzen.api import cron, kinds
from mizzen.api.validate_job_policies import IndexesError, count_indexes
from tests.fixtures.examples import JOB_TEMPLATE
from tests.unit.api.kind_rules import begins, mistakes, refusals

JOB, CRON = kinds.JOB, kinds.CRON_JOB
OWN: dict[str, Any] = {
    "batch.kubernetes.io/controller-uid": "u", "batch.kubernetes.io/job-name": "example", "controller-uid": "u",
    "job-name": "example",
}  # fmt: skip
SELECTED: dict[str, Any] = {
    "selector": {"matchLabels": {"batch.kubernetes.io/controller-uid": "u"}},
    "template": {"metadata": {"labels": OWN}},
}
"""What admission makes."""
INDEXED = {"completionMode": "Indexed", "completions": 5}
POLICY = "spec.podFailurePolicy.rules[0]"


def rule(**fields: Any) -> dict[str, Any]:
    return {"podFailurePolicy": {"rules": [fields]}}


def codes(operator: str, *values: int, **more: Any) -> dict[str, Any]:
    return {"operator": operator, "values": list(values), **more}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, []),
        ({"parallelism": -1, "backoffLimit": -1}, [
            "spec.parallelism: Invalid value: -1: must be greater than or equal to 0",
            "spec.backoffLimit: Invalid value: -1: must be greater than or equal to 0",
        ]),
        ({"template": {"spec": {"restartPolicy": None}}}, [
            'spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"',
        ]),
        ({"selector": {"matchLabels": {"batch.kubernetes.io/controller-uid": "x"}}}, [
            "spec.selector: Invalid value: ", "spec.template.metadata.labels: Invalid value: ",
        ]),
        ({"template": {"metadata": {"labels": {"job-name": "x"}}}}, [
            "spec.template.metadata.labels[job-name]: Invalid value: ",
        ]),
        ({"managedBy": "queue"}, ['spec.managedBy: Invalid value: "queue": must be a domain-prefixed path']),
        ({"completionMode": "X"}, [
            'spec.completionMode: Unsupported value: "X": supported values: "Indexed", "NonInd',
        ]),
        ({"completionMode": "Indexed", "parallelism": 100_001}, [
            "spec.completions: Required value: when completion mode is Indexed",
            "spec.parallelism: Invalid value: 100001: must be less than or equal to 100000 when completion mode is",
        ]),
        ({"backoffLimitPerIndex": 1}, [
            "spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode",
        ]),
        ({**INDEXED, "maxFailedIndexes": 6}, [
            "spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is specified",
            "spec.maxFailedIndexes: Invalid value: 6: must be less than or equal to completions",
        ]),
        ({**INDEXED, "completions": 200_000, "backoffLimitPerIndex": 1, "parallelism": 20_000}, [
            "spec.maxFailedIndexes: Required value: must be specified when completions is above 100000",
            "spec.parallelism: Invalid value: 20000: must be less than or equal to 10000 when completions are above",
        ]),
        ({"podReplacementPolicy": "X"}, [
            'spec.podReplacementPolicy: Unsupported value: "X": supported values: "Failed"',
        ]),
        (rule(action="Ignore", onExitCodes=codes("In", 1, 2)), []),
        (rule(action="X"), [
            f'{POLICY}.action: Unsupported value: "X": supported values: "Count", "FailIndex", "FailJob", "Ignore"',
            f'{POLICY}: Invalid value: "": specifying one of OnExitCodes and OnPodConditions is required',
        ]),
        (rule(action="FailIndex", onPodConditions=[{"type": "DisruptionTarget"}]), [
            f'{POLICY}.action: Invalid value: "FailIndex": requires the backoffLimitPerIndex to be set',
        ]),
        (rule(action="Count", onExitCodes=codes("In", 3, 0, 3, containerName="z")), [
            f'{POLICY}.onExitCodes.containerName: Invalid value: "z": must be one of the container or initContainer',
            f"{POLICY}.onExitCodes.values[1]: Invalid value: 0: must not be 0 for the In operator",
            f"{POLICY}.onExitCodes.values[2]: Duplicate value: 3",
            f"{POLICY}.onExitCodes.values: Invalid value: [3,0,3]: must be ordered",
        ]),
        (rule(action="Count", onExitCodes=codes("In", 1), onPodConditions=[{"type": "A"}]), [
            f'{POLICY}: Invalid value: "": specifying both OnExitCodes and OnPodConditions is not supported',
        ]),
        ({**rule(action="Count", onExitCodes=codes("NotIn")), "template": {"spec": {"restartPolicy": "OnFailure"}}}, [
            f"{POLICY}.onExitCodes.values: Invalid value: []: at least one value is required",
            'spec.template.spec.restartPolicy: Invalid value: "OnFailure": only "Never" is supported when podFailureP',
        ]),
        ({"successPolicy": {"rules": [{"succeededCount": 1}]}}, [
            'spec.successPolicy: Invalid value: "": requires indexed completion mode',
        ]),
        ({**INDEXED, "successPolicy": {"rules": []}}, ["spec.successPolicy.rules: Required value: at least one rules"]),
        ({**INDEXED, "successPolicy": {"rules": [{}, {"succeededIndexes": "0-9"}, {"succeededCount": 6},
                                                 {"succeededIndexes": "0-1", "succeededCount": 3}]}}, [
            "spec.successPolicy.rules[0]: Required value: at least one of succeededCount or succeededIndexes must be",
            'spec.successPolicy.rules[1].succeededIndexes: Invalid value: "0-9": error parsing succeededIndexes: too',
            "spec.successPolicy.rules[2].succeededCount: Invalid value: 6: must be less than or equal to 5 (the number",
            "spec.successPolicy.rules[3].succeededCount: Invalid value: 3: must be less than or equal to 2 (the number",
        ]),
    ],
)  # fmt: skip
def test_jobs(spec: dict[str, Any], expected: list[str]) -> None:
    template = {**SELECTED["template"], **spec.get("template", {})}
    if "metadata" in spec.get("template", {}):
        template["metadata"] = {"labels": OWN | spec["template"]["metadata"]["labels"]}
    begins(mistakes(JOB, {"spec": {**SELECTED, **spec, "template": template}}), expected)


def test_without_admission_a_job_has_no_selector() -> None:
    begins(mistakes(JOB, {}), ["spec.selector: Required value"])


LARGER = {
    "template": {"spec": {"containers": [{"name": "c", "image": "img:1", "resources": {"limits": {"cpu": "2"}}}]}}
}


@pytest.mark.parametrize(
    ("spec", "before", "expected"),
    [
        ({"parallelism": 3, "suspend": True, "backoffLimit": 1, "ttlSecondsAfterFinished": 1}, {}, []),
        ({"completions": 3}, {}, ["spec.completions: Invalid value: 3: field is immutable"]),
        ({"completions": 3, "parallelism": 3}, INDEXED, []),
        ({"completions": 3}, INDEXED, [
            "spec.completions: Invalid value: 3: can only be modified in tandem with spec.p",
        ]),
        ({"completionMode": "Indexed"}, {}, ['spec.completionMode: Invalid value: "Indexed": field is immutable']),
        ({"managedBy": "example.com/queue"}, {}, ['spec.managedBy: Invalid value: "example.com/queue": field is imm']),
        ({"template": {"spec": {"containers": [{"name": "c", "image": "img:2"}]}}}, {}, [
            "spec.template: Invalid value",
        ]),
        ({"template": {"spec": {"nodeSelector": {"a": "b"}}}}, {}, ["spec.template: Invalid value"]),
        ({"template": {"spec": {"nodeSelector": {"a": "b"}}}}, {"suspend": True}, []),
        (LARGER, {}, ["spec.template: Invalid value"]),
        (LARGER, {"suspend": True}, []),
        ({"template": {"spec": {"containers": [{"name": "c", "image": "img:2"}]}}}, {"suspend": True}, [
            "spec.template: Invalid value",
        ]),
        ({"manualSelector": True, "selector": {"matchLabels": {"job-name": "example"}}}, {}, [
            "spec.selector: Invalid value: ",
        ]),
    ],
)  # fmt: skip
def test_what_may_change_of_a_job(spec: dict[str, Any], before: dict[str, Any], expected: list[str]) -> None:
    begins(refusals(JOB, {"spec": spec}, {"spec": {**SELECTED, **before}}), expected)


@pytest.mark.parametrize(
    ("status", "may_change"),
    [
        ({}, True),
        ({"active": 1}, False),
        ({"startTime": "2026-03-01T12:00:00Z"}, False),
        ({"startTime": "2026-03-01T12:00:00Z", "conditions": [{"type": "Suspended", "status": "True"}]}, True),
        ({"startTime": "2026-03-01T12:00:00Z", "conditions": [{"type": "Suspended", "status": "False"}]}, False),
        ({"active": 1, "conditions": [{"type": "Suspended", "status": "True"}]}, False),
    ],
)
def test_a_suspended_job_is_told_where_to_run_once_it_has_stopped(status: dict[str, Any], may_change: bool) -> None:
    before = {"spec": {**SELECTED, "suspend": True}, "status": status}
    found = refusals(JOB, {"spec": {"template": {"spec": {"nodeSelector": {"a": "b"}}}}}, before)
    begins(found, [] if may_change else ["spec.template: Invalid value"])


def test_a_job_does_not_both_succeed_and_fail() -> None:
    ends = [{"type": "Complete", "status": "True"}, {"type": "Failed", "status": "True"}]
    begins(
        refusals(JOB, {"status": {"conditions": ends}}, status=True),
        ['status.conditions: Invalid value: "": cannot set Complete=True and Failed=true conditions'],
    )
    begins(
        refusals(JOB, {"status": {"completionTime": "2026-01-02T03:04:05Z", "failed": -1}}, status=True),
        ["status.failed: Invalid value: -1", "status.completionTime: Invalid value: "],
    )


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"schedule": ""}, ["spec.schedule: Required value"]),
        ({"schedule": "* * *"}, ['spec.schedule: Invalid value: "* * *": expected exactly 5 fields, found 3: [* * *]']),
        ({"schedule": "TZ=UTC 0 0 * * *"}, [
            'spec.schedule: Invalid value: "TZ=UTC 0 0 * * *": cannot use TZ or CRON_',
        ]),
        ({"timeZone": "Europe/Berlin"}, []),
        ({"timeZone": "Europe/Nowhere"}, [
            'spec.timeZone: Invalid value: "Europe/Nowhere": unknown time zone Europe/No',
        ]),
        ({"timeZone": "../etc/passwd"}, ['spec.timeZone: Invalid value: "../etc/passwd": unknown time zone']),
        ({"timeZone": ""}, ['spec.timeZone: Invalid value: "": timeZone must be nil or non-empty string']),
        ({"timeZone": "Local"}, ['spec.timeZone: Invalid value: "Local": timeZone must be an explicit time zone']),
        ({"concurrencyPolicy": "X"}, ['spec.concurrencyPolicy: Unsupported value: "X": supported values: "Allow"']),
        ({"startingDeadlineSeconds": -1, "failedJobsHistoryLimit": -1}, [
            "spec.startingDeadlineSeconds: Invalid value: -1", "spec.failedJobsHistoryLimit: Invalid value: -1",
        ]),
        ({"jobTemplate": {"spec": {"manualSelector": True, "selector": {"matchLabels": {"a": "b"}}}}}, [
            "spec.jobTemplate.spec.selector: Invalid value: ",
            'spec.jobTemplate.spec.manualSelector: Unsupported value: true: supported values: "nil", "false"',
        ]),
        ({"jobTemplate": {"spec": {"template": {**JOB_TEMPLATE, "spec": {"containers": []}}}}}, [
            "spec.jobTemplate.spec.template.spec.containers: Required value",
        ]),
    ],
)  # fmt: skip
def test_cron_jobs(spec: dict[str, Any], expected: list[str]) -> None:
    begins(mistakes(CRON, {"spec": spec}), expected)


def test_the_jobs_of_a_cron_job_need_room_in_their_names() -> None:
    begins(
        mistakes(CRON, {"metadata": {"name": "a" * 53}}),
        [f'metadata.name: Invalid value: "{"a" * 53}": must be no more than 52 characters'],
    )
    begins(refusals(CRON, {"spec": {"schedule": "@daily", "timeZone": "Asia/Tokyo"}}), [])


def test_schedules() -> None:
    parsed = cron.parse("*/20 9-17 1,15 jan-mar mon-fri")
    assert isinstance(parsed, cron.Schedule)
    assert parsed.minutes.values == {0, 20, 40}
    assert parsed.hours.values == frozenset(range(9, 18))
    assert parsed.days.values == {1, 15}
    assert parsed.months.values == {1, 2, 3}
    assert parsed.weekdays.values == {1, 2, 3, 4, 5}
    assert not parsed.minutes.every
    assert cron.parse("* * * * *") == cron.parse("*/1 ? * * *")
    assert cron.parse("@weekly") == cron.parse("0 0 * * 0")
    assert cron.parse("@every 1h30m") == cron.Every(5400)
    assert cron.parse("5/30 * * * *").minutes.values == {5, 35}  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("60 * * * *", r"end of range \(60\) above maximum \(59\): 60"),
        ("* * 0 * *", r"beginning of range \(0\) below minimum \(1\): 0"),
        ("5-3 * * * *", r"beginning of range \(5\) beyond end of range \(3\): 5-3"),
        ("*/0 * * * *", r"step of range should be a positive number: \*/0"),
        ("a * * * *", "failed to parse int from a"),
        ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
        ("1/2/3 * * * *", "too many slashes: 1/2/3"),
        ("@never", "unrecognized descriptor: @never"),
        ("@every soon", "failed to parse duration @every soon"),
        (" ", "empty spec string"),
        ("1, * * * *", "failed to parse int from "),
    ],
)
def test_bad_schedules(text: str, problem: str) -> None:
    with pytest.raises(cron.CronError, match=problem):
        cron.parse(text)


@pytest.mark.parametrize(("text", "count"), [("", 0), ("1", 1), ("0-4", 5), ("1,3-5,7", 5)])
def test_lists_of_indexes(text: str, count: int) -> None:
    assert count_indexes(text, 10) == count


@pytest.mark.parametrize("text", ["10", "3-1", "2,1", "1-1", "a", "1-", "1,,2"])
def test_bad_lists_of_indexes(text: str) -> None:
    with pytest.raises(IndexesError):
        count_indexes(text, 10)
