"""The tables of webhooks, policies and served groups."""

from __future__ import annotations

from controlplane.server.tables.model import AGE, NAME, NONE, Row, TableOf, age, column
from mizzen.api.types import admissionregistration_v1 as admission
from mizzen.api.types import apiregistration_v1 as apiregistration
from mizzen.engine.values import Instant


def webhooks_row(
    obj: admission.MutatingWebhookConfiguration | admission.ValidatingWebhookConfiguration, now: Instant
) -> Row:
    """The cells of a configuration of webhooks."""
    return Row((obj.metadata.name, len(obj.webhooks), age(obj.metadata, now)))


def validating_policy_row(obj: admission.ValidatingAdmissionPolicy, now: Instant) -> Row:
    """The cells of a validating policy."""
    return Row((obj.metadata.name, len(obj.spec.validations), _params(obj.spec.param_kind), age(obj.metadata, now)))


def mutating_policy_row(obj: admission.MutatingAdmissionPolicy, now: Instant) -> Row:
    """The cells of a mutating policy."""
    return Row((obj.metadata.name, len(obj.spec.mutations), _params(obj.spec.param_kind), age(obj.metadata, now)))


def _params(kind: admission.ParamKind | None) -> str:
    return "<unset>" if kind is None else f"{kind.api_version}/{kind.kind}"


def binding_row(
    obj: admission.ValidatingAdmissionPolicyBinding | admission.MutatingAdmissionPolicyBinding, now: Instant
) -> Row:
    """The cells of a binding of a policy."""
    ref = obj.spec.param_ref
    named = "<unset>" if ref is None else f"{ref.namespace}/{ref.name}" if ref.namespace else ref.name or "*/*"
    return Row((obj.metadata.name, obj.spec.policy_name, named, age(obj.metadata, now)))


def served_group_row(obj: apiregistration.APIService, now: Instant) -> Row:
    """The cells of a served group and version."""
    service = obj.spec.service
    where = "Local" if service is None else f"{service.namespace}/{service.name}"
    said = next((one for one in obj.status.conditions if one.type == "Available"), None)
    available = NONE if said is None else said.status if said.status == "True" else f"{said.status} ({said.reason})"
    return Row((obj.metadata.name, where, available, age(obj.metadata, now)))


_PARAM_KIND = column("ParamKind", "The kind that parameters are read from.")
WEBHOOKS_TABLE = TableOf((NAME, column("Webhooks", "How many webhooks there are.", whole=True), AGE), webhooks_row)
VALIDATING_POLICY_TABLE = TableOf(
    (NAME, column("Validations", "How many things it asks for.", whole=True), _PARAM_KIND, AGE), validating_policy_row
)
MUTATING_POLICY_TABLE = TableOf(
    (NAME, column("Mutations", "How many changes it makes.", whole=True), _PARAM_KIND, AGE), mutating_policy_row
)
BINDING_TABLE = TableOf(
    (NAME, column("PolicyName", "The policy."), column("ParamRef", "Where parameters are read from."), AGE), binding_row
)
SERVED_GROUP_TABLE = TableOf(
    (NAME, column("Service", "Who serves it."), column("Available", "Whether it is served."), AGE), served_group_row
)
