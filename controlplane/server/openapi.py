"""Placeholder."""

from __future__ import annotations

from aiohttp import web

from mizzen.api import errors


class OpenApi:
    """The description of the API."""

    def answer(self, request: web.Request, path: str) -> web.Response:
        """The document under a path."""
        raise errors.PathNotFound
