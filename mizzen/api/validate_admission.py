"""The rules for webhooks, policies and their bindings, and for served groups."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeAlias

from mizzen.api import formats, validate_meta
from mizzen.api.errors import FieldError
from mizzen.api.types import admissionregistration_v1 as admission
from mizzen.api.types import apiextensions_v1 as apiextensions
from mizzen.api.types import apiregistration_v1 as apiregistration
from mizzen.api.validate_common import Errors, checked, label_selector, maybe_one_of, one_of, required, unique, within

Webhooks: TypeAlias = admission.MutatingWebhookConfiguration | admission.ValidatingWebhookConfiguration
Policy: TypeAlias = admission.MutatingAdmissionPolicy | admission.ValidatingAdmissionPolicy
Binding: TypeAlias = admission.MutatingAdmissionPolicyBinding | admission.ValidatingAdmissionPolicyBinding

_FAILURES = ("Fail", "Ignore")
_MATCHES = ("Equivalent", "Exact")
_OPERATIONS = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
_SCOPES = ("*", "Cluster", "Namespaced")
_SIDE_EFFECTS = ("None", "NoneOnDryRun")
_REVIEWS = ("v1", "v1beta1")
_ACTIONS = ("Audit", "Deny", "Warn")
_REASONS = ("Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized")
_TIMEOUT_MAX_S = 30
_CONDITIONS_MAX = 64
_SEGMENTS = 3


def create_webhooks(obj: Webhooks) -> Errors:
    """A configuration of webhooks that is about to be."""
    yield from validate_meta.create(obj.metadata, formats.dns_subdomain, namespaced=False)
    yield from _webhooks(obj)


def update_webhooks(new: Webhooks, old: Webhooks) -> Errors:
    """A configuration of webhooks that is about to be replaced."""
    yield from validate_meta.update(new.metadata, old.metadata)
    # Conditions that stay as they are may be from a time when they could still be compiled.
    before, after = ([one.match_conditions for one in config.webhooks] for config in (old, new))
    yield from _webhooks(new, compiling=before != after)


def create_policy(obj: Policy) -> Errors:
    """A policy that is about to be."""
    yield from validate_meta.create(obj.metadata, formats.dns_subdomain, namespaced=False)
    yield from _policy(obj)


def update_policy(new: Policy, old: Policy) -> Errors:
    """A policy that is about to be replaced."""
    yield from validate_meta.update(new.metadata, old.metadata)
    yield from _policy(new)


def create_binding(obj: Binding) -> Errors:
    """A binding that is about to be."""
    yield from validate_meta.create(obj.metadata, formats.dns_subdomain, namespaced=False)
    yield from _binding(obj)


def update_binding(new: Binding, old: Binding) -> Errors:
    """A binding that is about to be replaced."""
    yield from validate_meta.update(new.metadata, old.metadata)
    yield from _binding(new)


def create_served_group(obj: apiregistration.APIService) -> Errors:
    """A served group and version that is about to be."""
    yield from validate_meta.create(obj.metadata, formats.path_segment, namespaced=False)
    yield from _served_group(obj)


def update_served_group(new: apiregistration.APIService, old: apiregistration.APIService) -> Errors:
    """A served group and version that is about to be replaced."""
    yield from validate_meta.update(new.metadata, old.metadata)
    yield from _served_group(new)


# -- webhooks ----------------------------------------------------------------------------------------------------------


def _webhooks(obj: Webhooks, *, compiling: bool = True) -> Errors:
    seen: set[str] = set()
    both: tuple[admission.MutatingWebhook | admission.ValidatingWebhook, ...] = obj.webhooks
    for i, webhook in enumerate(both):
        path = f"webhooks[{i}]"
        yield from _full_name(f"{path}.name", webhook.name)
        yield from unique(f"{path}.name", webhook.name, seen)
        yield from client_config(f"{path}.clientConfig", webhook.client_config)
        for j, rule in enumerate(webhook.rules):
            yield from _rule(f"{path}.rules[{j}]", rule)
        yield from _how(path, webhook)
        yield from label_selector(f"{path}.namespaceSelector", webhook.namespace_selector)
        yield from label_selector(f"{path}.objectSelector", webhook.object_selector)
        yield from _conditions(f"{path}.matchConditions", webhook.match_conditions)
        if compiling and webhook.match_conditions:
            yield from _compiled_conditions(f"{path}.matchConditions", webhook.match_conditions)


def _full_name(path: str, name: str) -> Errors:
    if not name:
        yield FieldError.required(path)
    elif problems := list(checked(path, name, formats.dns_subdomain)):
        yield from problems
    elif len(name.split(".")) < _SEGMENTS:
        yield FieldError.invalid(path, name, "should be a domain with at least three segments separated by dots")


def _how(path: str, webhook: Any) -> Errors:
    yield from maybe_one_of(f"{path}.failurePolicy", webhook.failure_policy, _FAILURES)
    yield from maybe_one_of(f"{path}.matchPolicy", webhook.match_policy, _MATCHES)
    if webhook.side_effects is None:
        why = f"must specify one of {', '.join(_SIDE_EFFECTS)}"
        yield FieldError.required(f"{path}.sideEffects", why)
    else:
        yield from one_of(f"{path}.sideEffects", webhook.side_effects, _SIDE_EFFECTS)
    timeout = webhook.timeout_seconds
    if timeout is not None and not 1 <= timeout <= _TIMEOUT_MAX_S:
        why = f"the timeout value must be between 1 and {_TIMEOUT_MAX_S} seconds"
        yield FieldError.invalid(f"{path}.timeoutSeconds", timeout, why)
    yield from _review_versions(f"{path}.admissionReviewVersions", webhook.admission_review_versions)
    if isinstance(webhook, admission.MutatingWebhook):
        yield from maybe_one_of(f"{path}.reinvocationPolicy", webhook.reinvocation_policy, ("IfNeeded", "Never"))


def _review_versions(path: str, versions: tuple[str, ...]) -> Errors:
    if not versions:
        yield FieldError.required(path, f"must specify one of {', '.join(_REVIEWS)}")
        return
    for i, version in enumerate(versions):
        if version in versions[:i]:
            yield FieldError.invalid(f"{path}[{i}]", version, "duplicate version")
        else:
            yield from checked(f"{path}[{i}]", version, formats.dns_label_1035)
    if not any(version in _REVIEWS for version in versions):
        yield FieldError.invalid(path, versions, f"must include at least one of {', '.join(_REVIEWS)}")


def client_config(path: str, client: admission.WebhookClientConfig | apiextensions.WebhookClientConfig) -> Errors:
    """The rules for how a webhook is reached."""
    if (client.url is None) == (client.service is None):
        yield FieldError.required(path, "exactly one of url or service is required")
    if client.url is not None and not client.url.startswith("https://"):
        yield FieldError.invalid(f"{path}.url", client.url, "'https' is the only allowed URL scheme")
    if client.service is not None:
        yield from required(f"{path}.service.name", client.service.name, "service name is required")
        yield from required(f"{path}.service.namespace", client.service.namespace, "service namespace is required")
        yield from within(f"{path}.service.port", client.service.port or 0, 1, 65535)


def _rule(path: str, rule: admission.RuleWithOperations | admission.NamedRuleWithOperations) -> Errors:
    for name, values in (
        ("operations", rule.operations),
        ("apiGroups", rule.api_groups),
        ("apiVersions", rule.api_versions),
        ("resources", rule.resources),
    ):
        yield from required(f"{path}.{name}", values)
        if len(values) > 1 and "*" in values and name != "resources":
            yield FieldError.invalid(
                f"{path}.{name}", values, f"if '*' is present, must not specify other {_plain(name)}"
            )
    for i, operation in enumerate(rule.operations):
        yield from one_of(f"{path}.operations[{i}]", operation, _OPERATIONS)
    yield from maybe_one_of(f"{path}.scope", rule.scope, _SCOPES)


def _plain(name: str) -> str:
    return {"apiGroups": "API groups", "apiVersions": "API versions"}.get(name, name)


def _compiled_conditions(path: str, conditions: tuple[admission.MatchCondition, ...]) -> Errors:
    # Not before there are conditions: the language weighs as much as all of the API's types.
    from mizzen.api.cel.policy import Compiler

    compiler = Compiler(params=False)
    for i, condition in enumerate(conditions):
        yield from _compiles(
            f"{path}[{i}].expression", condition.expression, partial(compiler.expression, wanted=("bool",))
        )


def _conditions(path: str, conditions: tuple[admission.MatchCondition, ...]) -> Errors:
    if len(conditions) > _CONDITIONS_MAX:
        yield FieldError.too_many(path, len(conditions), _CONDITIONS_MAX)
    seen: set[str] = set()
    for i, condition in enumerate(conditions):
        yield from required(f"{path}[{i}].expression", condition.expression.strip())
        if not condition.name:
            yield FieldError.required(f"{path}[{i}].name")
        else:
            yield from checked(f"{path}[{i}].name", condition.name, formats.qualified_name)
            yield from unique(f"{path}[{i}].name", condition.name, seen)


# -- policies ----------------------------------------------------------------------------------------------------------


def _policy(obj: Policy) -> Errors:
    spec = obj.spec
    yield from maybe_one_of("spec.failurePolicy", spec.failure_policy, _FAILURES)
    if spec.param_kind is not None:
        yield from required("spec.paramKind.apiVersion", spec.param_kind.api_version)
        yield from required("spec.paramKind.kind", spec.param_kind.kind)
    if spec.match_constraints is None:
        yield FieldError.required("spec.matchConstraints")
    else:
        yield from required("spec.matchConstraints.resourceRules", spec.match_constraints.resource_rules)
        yield from _matched("spec.matchConstraints", spec.match_constraints)
    yield from _conditions("spec.matchConditions", spec.match_conditions)
    yield from _expressions(obj)
    for i, variable in enumerate(spec.variables):
        yield from required(f"spec.variables[{i}].name", variable.name, "name is not specified")
        yield from required(f"spec.variables[{i}].expression", variable.expression, "expression is not specified")
    if isinstance(obj, admission.ValidatingAdmissionPolicy):
        yield from _validations(obj.spec)
    else:
        yield from _mutations(obj.spec)


def _expressions(obj: Policy) -> Errors:
    """What is wrong with the expressions, each compiled as it will be when it runs."""
    # Not before there is a policy: the language weighs as much as all of the API's types.
    from mizzen.api.cel.policy import Compiler

    mutating = isinstance(obj, admission.MutatingAdmissionPolicy)
    compiler = Compiler(params=obj.spec.param_kind is not None, mutating=mutating)
    for i, variable in enumerate(obj.spec.variables):
        if variable.name and variable.name.isidentifier():
            yield from _compiles(
                f"spec.variables[{i}].expression", variable.expression, partial(compiler.variable, variable.name)
            )
        elif variable.name:
            yield FieldError.invalid(f"spec.variables[{i}].name", variable.name, "name is not a valid CEL identifier")
    for path, text, wanted in _uses(obj):
        yield from _compiles(path, text, partial(compiler.expression, wanted=wanted))


def _uses(obj: Policy) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """The expressions beside variables: where each stands, and what it must give."""
    for i, condition in enumerate(obj.spec.match_conditions):
        yield f"spec.matchConditions[{i}].expression", condition.expression, ("bool",)
    if isinstance(obj, admission.MutatingAdmissionPolicy):
        for i, mutation in enumerate(obj.spec.mutations):
            if mutation.apply_configuration is not None:
                yield (
                    f"spec.mutations[{i}].applyConfiguration.expression",
                    mutation.apply_configuration.expression,
                    ("map",),
                )
            if mutation.json_patch is not None:
                yield f"spec.mutations[{i}].jsonPatch.expression", mutation.json_patch.expression, ("list",)
        return
    for i, validation in enumerate(obj.spec.validations):
        yield f"spec.validations[{i}].expression", validation.expression, ("bool",)
        yield f"spec.validations[{i}].messageExpression", validation.message_expression, ("string",)
    for i, annotation in enumerate(obj.spec.audit_annotations):
        yield f"spec.auditAnnotations[{i}].valueExpression", annotation.value_expression, ("string", "null_type")


def _compiles(path: str, text: str, compile_: Callable[[str], Any]) -> Errors:
    from mizzen.api.cel.policy import BadExpression

    if not text.strip():
        return
    try:
        compile_(text)
    except BadExpression as error:
        yield FieldError.invalid(path, text, str(error))


def _validations(spec: admission.ValidatingAdmissionPolicySpec) -> Errors:
    if not spec.validations and not spec.audit_annotations:
        yield FieldError.required("spec.validations", "validations or auditAnnotations must be specified")
    for i, validation in enumerate(spec.validations):
        path = f"spec.validations[{i}]"
        yield from required(f"{path}.expression", validation.expression.strip(), "expression is not specified")
        yield from maybe_one_of(f"{path}.reason", validation.reason, _REASONS)
    for i, annotation in enumerate(spec.audit_annotations):
        yield from required(f"spec.auditAnnotations[{i}].key", annotation.key)
        yield from required(f"spec.auditAnnotations[{i}].valueExpression", annotation.value_expression.strip())


def _mutations(spec: admission.MutatingAdmissionPolicySpec) -> Errors:
    yield from required("spec.mutations", spec.mutations, "mutations must contain at least one item")
    yield from one_of("spec.reinvocationPolicy", spec.reinvocation_policy, ("IfNeeded", "Never"))
    for i, mutation in enumerate(spec.mutations):
        path = f"spec.mutations[{i}]"
        yield from one_of(f"{path}.patchType", mutation.patch_type, ("ApplyConfiguration", "JSONPatch"))
        if mutation.patch_type == "ApplyConfiguration" and mutation.apply_configuration is None:
            yield FieldError.required(
                f"{path}.applyConfiguration", "must be specified when patchType is ApplyConfiguration"
            )
        if mutation.patch_type == "JSONPatch" and mutation.json_patch is None:
            yield FieldError.required(f"{path}.jsonPatch", "must be specified when patchType is JSONPatch")


def _binding(obj: Binding) -> Errors:
    spec = obj.spec
    yield from required("spec.policyName", spec.policy_name)
    if spec.match_resources is not None:
        yield from _matched("spec.matchResources", spec.match_resources)
    if spec.param_ref is not None:
        if bool(spec.param_ref.name) == (spec.param_ref.selector is not None):
            yield FieldError.required("spec.paramRef", "one of name or selector must be specified")
        yield from one_of(
            "spec.paramRef.parameterNotFoundAction", spec.param_ref.parameter_not_found_action or "", ("Allow", "Deny")
        )
    if isinstance(obj, admission.ValidatingAdmissionPolicyBinding):
        yield from required("spec.validationActions", obj.spec.validation_actions)
        for i, action in enumerate(obj.spec.validation_actions):
            yield from one_of(f"spec.validationActions[{i}]", action, _ACTIONS)


def _matched(path: str, match: admission.MatchResources) -> Errors:
    yield from maybe_one_of(f"{path}.matchPolicy", match.match_policy, _MATCHES)
    yield from label_selector(f"{path}.namespaceSelector", match.namespace_selector)
    yield from label_selector(f"{path}.objectSelector", match.object_selector)
    for i, rule in enumerate(match.resource_rules):
        yield from _rule(f"{path}.resourceRules[{i}]", rule)
    for i, rule in enumerate(match.exclude_resource_rules):
        yield from _rule(f"{path}.excludeResourceRules[{i}]", rule)


# -- served groups -----------------------------------------------------------------------------------------------------


def _served_group(obj: apiregistration.APIService) -> Errors:
    spec = obj.spec
    wanted = f"{spec.version}.{spec.group}"
    if obj.metadata.name != wanted:
        why = f'must be `spec.version+"."+spec.group`: {wanted}'
        yield FieldError.invalid("metadata.name", obj.metadata.name, why)
    for name, number, most in (
        ("groupPriorityMinimum", spec.group_priority_minimum, 20000),
        ("versionPriority", spec.version_priority, 1000),
    ):
        if not 0 < number <= most:
            yield FieldError.invalid(f"spec.{name}", number, f"must be positive and less than {most}")
    if spec.service is not None:
        yield from required("spec.service.name", spec.service.name)
        yield from required("spec.service.namespace", spec.service.namespace)
    if spec.service is None and (spec.ca_bundle or spec.insecure_skip_tls_verify):
        yield FieldError.invalid(
            "spec.service", None, "local APIServices may not have caBundle or insecureSkipTLSVerify"
        )
    if spec.insecure_skip_tls_verify and spec.ca_bundle:
        why = "may not be true if caBundle is present"
        yield FieldError.invalid("spec.insecureSkipTLSVerify", True, why)
