"""Questions and their answers: may I, may they, who am I, whose token is this. Nothing is stored.

One implementation for REST and gRPC, as with every verb.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec.structs import replace

from controlplane.access import nodes
from controlplane.access.questions import asked
from controlplane.access.rules import joined
from controlplane.access.values import UserInfo, Wanted
from controlplane.server.authn import VerifyToken, no_tokens, vouched
from controlplane.server.authz import Authorizer
from controlplane.server.tokens import Tokens
from mizzen.api import kinds, validate
from mizzen.api.errors import BadRequest, Invalid
from mizzen.api.kinds import Kind
from mizzen.api.types import authentication_v1 as authentication
from mizzen.api.types import authorization_v1 as authorization

Answer = Callable[[UserInfo, Any], Any]


class Reviews:
    """Answers to the questions that the API takes."""

    def __init__(self, access: Authorizer, tokens: Tokens | None, verify_token: VerifyToken = no_tokens) -> None:
        """By `access`, by `tokens` where the server knows any, and of other issuers' tokens by `verify_token`."""
        self._access = access
        self._tokens = tokens
        self._verify_token = verify_token
        self._answers: Mapping[Kind[Any], Answer] = {
            kinds.SELF_SUBJECT_REVIEW: self._who_am_i,
            kinds.TOKEN_REVIEW: self._whose_token,
            kinds.SELF_SUBJECT_ACCESS_REVIEW: self._may_i,
            kinds.SUBJECT_ACCESS_REVIEW: self._may_they,
            kinds.LOCAL_SUBJECT_ACCESS_REVIEW: self._may_they,
            kinds.SELF_SUBJECT_RULES_REVIEW: self._what_may_i,
        }

    def takes(self, kind: Kind[Any]) -> bool:
        """Whether objects of this kind are questions."""
        return kind in self._answers

    def answer(self, user: UserInfo, kind: Kind[Any], namespace: str, question: Any) -> Any:
        """The question with its answer. Raises Invalid or BadRequest for what is none."""
        if kind.namespaced:
            given = question.metadata.namespace
            if given and given != namespace:
                raise BadRequest(
                    "the namespace of the provided object does not match the namespace sent on the request"
                )
            question = replace(question, metadata=replace(question.metadata, namespace=namespace))
        problems = validate.validate_create(question)
        if problems:
            raise Invalid(kind, question.metadata.name, problems)
        return self._answers[kind](user, question)

    def _who_am_i(self, user: UserInfo, question: authentication.SelfSubjectReview) -> Any:
        return replace(question, status=authentication.SelfSubjectReviewStatus(user_info=_shown(user)))

    def _whose_token(self, user: UserInfo, question: authentication.TokenReview) -> Any:
        del user
        if self._tokens is None:
            status = authentication.TokenReviewStatus(error="this server knows no tokens")
        else:
            asked = question.spec.audiences
            status = self._tokens.reviewed(question.spec.token, asked)
            if not status.authenticated and (not asked or set(asked) & set(self._tokens.audiences)):
                status = self._of_others(question.spec.token, self._tokens.audiences) or status
        return replace(question, status=status)

    def _of_others(self, token: str, audiences: tuple[str, ...]) -> authentication.TokenReviewStatus | None:
        """What is to be said of a token of another issuer, which is for this server; None where nobody knows it."""
        user = self._verify_token(token)
        if user is None:
            return None
        return authentication.TokenReviewStatus(authenticated=True, user=_shown(vouched(user)), audiences=audiences)

    def _may_i(self, user: UserInfo, question: authorization.SelfSubjectAccessReview) -> Any:
        spec = question.spec
        return replace(question, status=self._decided(user, spec.resource_attributes, spec.non_resource_attributes))

    def _may_they(
        self, user: UserInfo, question: authorization.SubjectAccessReview | authorization.LocalSubjectAccessReview
    ) -> Any:
        del user
        spec = question.spec
        them = UserInfo(spec.user, tuple(spec.groups), spec.uid, spec.extra)
        return replace(question, status=self._decided(them, spec.resource_attributes, spec.non_resource_attributes))

    def _decided(
        self,
        user: UserInfo,
        resource: authorization.ResourceAttributes | None,
        path: authorization.NonResourceAttributes | None,
    ) -> authorization.SubjectAccessReviewStatus:
        if resource is not None:
            wanted, problem = asked(resource)
        else:
            assert path is not None
            wanted, problem = Wanted(path.verb, path=path.path), ""
        verdict = self._access.decide(user, wanted)
        return authorization.SubjectAccessReviewStatus(
            allowed=verdict.allowed, reason=verdict.reason, evaluation_error=problem
        )

    def _what_may_i(self, user: UserInfo, question: authorization.SelfSubjectRulesReview) -> Any:
        namespace = question.spec.namespace
        if not namespace:
            raise BadRequest("no namespace on request")
        grants = self._access.grants(user, namespace)
        # What a node may hangs on its pods, so that no list of rules says all of it.
        unlisted = (nodes.UNLISTED,) if nodes.node_of(user) else ()
        status = authorization.SubjectRulesReviewStatus(
            resource_rules=tuple(
                authorization.ResourceRule(
                    verbs=rule.verbs,
                    api_groups=rule.api_groups,
                    resources=rule.resources,
                    resource_names=rule.resource_names,
                )
                for rule in grants.rules
                if rule.resources
            ),
            non_resource_rules=tuple(
                authorization.NonResourceRule(verbs=rule.verbs, non_resource_urls=rule.non_resource_urls)
                for rule in grants.rules
                if rule.non_resource_urls
            ),
            evaluation_error=joined((*unlisted, *grants.problems)),
            incomplete=bool(unlisted),
        )
        return authorization.SelfSubjectRulesReview(status=status)


def _shown(user: UserInfo) -> authentication.UserInfo:
    """A user as the API shows it."""
    return authentication.UserInfo(username=user.name, uid=user.uid, groups=user.groups, extra=dict(user.extra))
