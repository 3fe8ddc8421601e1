"""The handler of requests for metrics of pods, and what discovery shows of them.

There are no tables of values, and no protobuf: clients of these groups ask for neither.
"""

from __future__ import annotations

from aiohttp import web
from multidict import MultiMapping

from controlplane.server import negotiate, rest_forms
from controlplane.server.aggregation.claims import Claims
from controlplane.server.aggregation.fetch import aggregated
from controlplane.server.discovery import Extension
from controlplane.server.metric_apis import forms, paths
from controlplane.server.metric_apis.values import MetricValues
from controlplane.server.rest_answers import answer
from mizzen.api import errors
from mizzen.api.metric_values import Asked

GROUP_PRIORITY = 100
"""Those that adapters register their groups and versions with."""
_VERSION_PRIORITIES = {"v1beta2": 200, "v1beta1": 100}


class MetricApis:
    """Both groups, each for as long as no extension server has taken it over."""

    def __init__(self, values: MetricValues, claims: Claims) -> None:
        """Answer from `values` what nobody else claims."""
        self._values = values
        self._claims = claims

    def serves(self, path: str) -> bool:
        """Whether a path is answered here."""
        place = paths.group_version(path)
        return place is not None and place[0] in self._own()

    def extensions(self) -> tuple[Extension, ...]:
        """What discovery shows beside the kinds: nothing while no pod says anything.

        kubectl keeps no list of resources that is empty, and would ask for it again with every command.
        """
        own, names = self._own(), self._values.names()
        return (
            ()
            if not names
            else tuple(
                Extension(
                    group,
                    version,
                    GROUP_PRIORITY,
                    _VERSION_PRIORITIES[version],
                    tuple(aggregated(forms.resources(group, names), group, version)),
                    current=True,
                )
                for group in own
                for version in paths.VERSIONS[group]
            )
        )

    def answer(self, request: web.Request, query: MultiMapping[str]) -> web.Response:
        """The answer. Raises PathNotFound, MethodNotAllowed, NotFound, BadRequest or NotAcceptable."""
        place = paths.group_version(request.path)
        if place is None:
            raise errors.PathNotFound
        if request.method not in ("GET", "HEAD"):
            raise errors.MethodNotAllowed(("GET",))
        group, version = place
        output = negotiate.output(request.headers.get("Accept", ""), protobuf=False)
        if request.path.removesuffix("/") == f"/apis/{group}/{version}":
            body = forms.resource_list(group, version, self._values.names())
        else:
            body = self._found(paths.parse(request.path, query), version)
        return answer(output, rest_forms.text(output, body))

    def _found(self, asked: Asked | None, version: str) -> bytes:
        if asked is None:
            raise errors.PathNotFound
        return forms.values_body(asked, version, self._values.find(asked))

    def _own(self) -> list[str]:
        others = {group for group, _ in self._claims.all()}
        return [group for group in paths.VERSIONS if group not in others]
