"""Which documents the description of the API keeps."""

from __future__ import annotations

import json

import pytest
from aiohttp.test_utils import make_mocked_request
from aiohttp.web import Response

from controlplane.server.openapi import OpenApi
from mizzen.api.catalog import BUILT_IN, Catalog
from mizzen.api.errors import PathNotFound
from tests.fixtures.definitions import definition, established

WITH_WIDGETS = BUILT_IN.with_definition(established(definition()))
PATH = "/openapi/v3/apis/example.com/v1"


async def ask(api: OpenApi, path: str, catalog: Catalog) -> Response:
    """The answer to a request for a document."""
    return await api.answer(make_mocked_request("GET", path), path, catalog)


async def test_documents_are_kept_for_as_long_as_their_group_is_served() -> None:
    api = OpenApi("v1.36.0")
    first = await ask(api, PATH, WITH_WIDGETS)
    core = await ask(api, "/openapi/v3/apis/apps/v1", WITH_WIDGETS)
    assert (await ask(api, PATH, WITH_WIDGETS)).body is first.body
    assert len(api) == 2
    listed = json.loads((await ask(api, "/openapi/v3", BUILT_IN)).body)  # type: ignore[arg-type]
    assert "apis/example.com/v1" not in listed["paths"]
    served = len(listed["paths"])
    assert len(api) == served + 1, "each group's document, and the index"
    assert (await ask(api, "/openapi/v3/apis/apps/v1", BUILT_IN)).body is core.body
    with pytest.raises(PathNotFound):
        await ask(api, PATH, BUILT_IN)
    for catalog in (WITH_WIDGETS, BUILT_IN) * 3:
        await ask(api, "/openapi/v3", catalog)
    assert len(api) == served + 1
