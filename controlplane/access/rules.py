"""What a rule allows, and whether rules allow all that others do.

The meaning of rules is Kubernetes': a request is allowed by a single rule that has its verb, its group, its resource
and its name. Verbs and groups match by `*` or exactly, resources also as `*/sub`; an empty list of names means all.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence

from controlplane.access.values import Verdict, Wanted
from mizzen.api.types import rbac_v1 as rbac

EVERYTHING = (
    rbac.PolicyRule(verbs=("*",), api_groups=("*",), resources=("*",)),
    rbac.PolicyRule(verbs=("*",), non_resource_urls=("*",)),
)
"""Rules that allow all there is."""
_REMEMBERED = 1024
"""Answers that one user's grants remember."""

Rules = tuple[rbac.PolicyRule, ...]


def allows(rule: rbac.PolicyRule, wanted: Wanted) -> bool:
    """Whether this rule allows it."""
    if wanted.path:
        return _has(rule.verbs, wanted.verb) and has_path(rule.non_resource_urls, wanted.path)
    return allows_kind(rule, wanted) and (not rule.resource_names or wanted.name in rule.resource_names)


def allows_kind(rule: rbac.PolicyRule, wanted: Wanted) -> bool:
    """Whether this rule allows it on some object of the resource at least."""
    return (
        _has(rule.verbs, wanted.verb)
        and _has(rule.api_groups, wanted.group)
        and has_resource(rule.resources, wanted.resource)
    )


def _has(words: Sequence[str], word: str) -> bool:
    return word in words or "*" in words


def has_resource(resources: Sequence[str], resource: str) -> bool:
    """Whether `pods/log` is among `pods/log`, `*/log`, `*`."""
    if _has(resources, resource):
        return True
    _, slash, below = resource.partition("/")
    return bool(slash) and f"*/{below}" in resources


def has_path(paths: Sequence[str], path: str) -> bool:
    """Whether a path is one of these, or begins as one that ends in `*`."""
    return any(path == one or (one.endswith("*") and path.startswith(one[:-1])) for one in paths)


class Grants:
    """All that one user was given in one namespace (and cluster-wide): rules with the bindings that they come from."""

    def __init__(self, given: Sequence[tuple[str, Rules]], problems: Sequence[str] = ()) -> None:
        """`given`: a binding in words and the rules it gives; `problems`: what was wrong with others."""
        self._given = tuple(given)
        self.problems = tuple(problems)
        """What was wrong with bindings, one in the words of the API each."""
        self._known: dict[tuple[str, str, str], tuple[Verdict | None, Rules]] = {}
        """By verb, group and resource: what allows it on every object, or else the rules that look at names."""

    @property
    def rules(self) -> Rules:
        """All rules, without where they come from."""
        return tuple(rule for _, rules in self._given for rule in rules)

    def decide(self, wanted: Wanted) -> Verdict:
        """Whether it is allowed."""
        if wanted.path:
            return self._first(wanted) or self._refused()
        key = (wanted.verb, wanted.group, wanted.resource)
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            known = self._known[key] = self._look_at(wanted)
        verdict, named = known
        if verdict is not None:
            return verdict
        if wanted.name and any(wanted.name in rule.resource_names for rule in named):
            return self._first(wanted) or self._refused()
        return self._refused()

    def _look_at(self, wanted: Wanted) -> tuple[Verdict | None, Rules]:
        named = []
        for binding, rules in self._given:
            for rule in rules:
                if allows_kind(rule, wanted):
                    if not rule.resource_names:
                        return _allowed(binding), ()
                    named.append(rule)
        return None, tuple(named)

    def _first(self, wanted: Wanted) -> Verdict | None:
        for binding, rules in self._given:
            if any(allows(rule, wanted) for rule in rules):
                return _allowed(binding)
        return None

    def _refused(self) -> Verdict:
        return Verdict(False, f"RBAC: {joined(self.problems)}" if self.problems else "")


def joined(problems: Sequence[str]) -> str:
    """Problems as the API writes several; empty for none."""
    return problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]" * bool(problems)


def _allowed(binding: str) -> Verdict:
    return Verdict(True, f"RBAC: allowed by {binding}")


def missing(wanted: Rules, held: Rules) -> Rules:
    """What `wanted` allows and `held` does not, a rule for each object or path with the verbs that are missing."""
    lacking: dict[rbac.PolicyRule, list[str]] = {}
    for rule in wanted:
        for single in _split(rule):
            if not any(_covers(one, single) for one in held):
                place = rbac.PolicyRule(
                    api_groups=single.api_groups, resources=single.resources, resource_names=single.resource_names,
                    non_resource_urls=single.non_resource_urls,
                )  # fmt: skip
                verbs = lacking.setdefault(place, [])
                verbs += [verb for verb in single.verbs if verb not in verbs]
    return tuple(
        rbac.PolicyRule(
            verbs=tuple(verbs), api_groups=place.api_groups, resources=place.resources,
            resource_names=place.resource_names, non_resource_urls=place.non_resource_urls,
        )
        for place, verbs in lacking.items()
    )  # fmt: skip


def _split(rule: rbac.PolicyRule) -> Iterator[rbac.PolicyRule]:
    """The rule as rules of one verb on one thing each."""
    for verb in rule.verbs:
        for path in rule.non_resource_urls:
            yield rbac.PolicyRule(verbs=(verb,), non_resource_urls=(path,))
        for group in rule.api_groups:
            for resource in rule.resources:
                for name in rule.resource_names or ("",):
                    names = (name,) if name else ()
                    yield rbac.PolicyRule(
                        verbs=(verb,), api_groups=(group,), resources=(resource,), resource_names=names
                    )


def _covers(held: rbac.PolicyRule, single: rbac.PolicyRule) -> bool:
    if not _has(held.verbs, single.verbs[0]):
        return False
    if single.non_resource_urls:
        return has_path(held.non_resource_urls, single.non_resource_urls[0])
    names = single.resource_names
    return (
        _has(held.api_groups, single.api_groups[0])
        and has_resource(held.resources, single.resources[0])
        and (not held.resource_names or (bool(names) and names[0] in held.resource_names))
    )


def described(rule: rbac.PolicyRule) -> str:
    """A rule in one line, as refusals show it."""
    parts = (
        ("APIGroups", rule.api_groups), ("Resources", rule.resources), ("NonResourceURLs", rule.non_resource_urls),
        ("ResourceNames", rule.resource_names), ("Verbs", rule.verbs),
    )  # fmt: skip
    return "{" + ", ".join(f"{name}:{quoted(words)}" for name, words in parts if words) + "}"


def quoted(words: Iterable[str]) -> str:
    """Words in a list as refusals show it: `["get" "list"]`."""
    return f"[{' '.join(json.dumps(word, ensure_ascii=False) for word in words)}]"
