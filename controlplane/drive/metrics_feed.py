"""Metrics for autoscalers: our own from memory, those of extension servers fetched ahead.

An autoscaler decides without waiting for anybody. What it asks of an extension server is noted and fetched from then
on, for as long as it asks again; before the first answer it is told to come back in a moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import msgspec
import structlog

from controlplane.reconcilers.scalingmetrics import NotYet
from controlplane.reconcilers.usageratios import NoMetric
from controlplane.server.aggregation.claims import Claims, Served, is_available
from controlplane.server.aggregation.fetch import FetchFailed
from controlplane.server.metric_apis import forms, paths
from controlplane.server.metric_apis.values import MetricValues
from mizzen.api.errors import ApiError
from mizzen.api.metric_values import Asked, Value
from mizzen.api.types import meta_v1 as meta
from mizzen.engine.values import Clock

EVERY_MS = 10_000
"""An extension server is asked so often: autoscalers look every 15 seconds."""
FORGOTTEN_MS = 60_000
"""What nobody has asked for so long is fetched no more."""
QUESTIONS_MAX = 2_000
AT_ONCE = 8
_OK = 200

Ask = Callable[[Served, str], Awaitable[tuple[int, bytes]]]
"""Asks an extension server for a path; status and body. Raises FetchFailed or ApiError."""
_LOG = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Question:
    asked_ms: int
    """When an autoscaler wanted to know it last; this and the next on the monotonic clock."""
    due_ms: int
    answer: Sequence[Value] | str | None = None
    """Values, or what went wrong; None before the first answer."""
    fetching: asyncio.Task[None] | None = field(default=None)


class MetricsFeed:
    """The source of metrics of one control plane."""

    def __init__(self, values: MetricValues, claims: Claims, ask: Ask, clock: Clock) -> None:
        """Our own `values` for what nobody claims; whoever does is asked by `ask`."""
        self._values = values
        self._claims = claims
        self._ask = ask
        self._clock = clock
        self._questions: dict[Asked, _Question] = {}
        self._woken = asyncio.Event()
        self._room = asyncio.Semaphore(AT_ONCE)

    def metrics(self, asked: Asked) -> Sequence[Value]:
        """See `scalingmetrics.Metrics`."""
        if not self._claimants(asked.group):
            try:
                return self._values.values(asked)
            except ApiError as error:
                raise NoMetric(error.message) from error
        now_ms = self._clock.monotonic_ms()
        question = self._questions.get(asked)
        if question is None:
            if len(self._questions) >= QUESTIONS_MAX:
                raise NoMetric(f"more than {QUESTIONS_MAX} different metrics are asked for")
            question = self._questions[asked] = _Question(now_ms, now_ms)
            self._woken.set()
        question.asked_ms = now_ms
        if question.answer is None:
            raise NotYet
        if isinstance(question.answer, str):
            raise NoMetric(question.answer)
        return question.answer

    def _claimants(self, group: str) -> dict[str, Served]:
        """The extension servers of a group, by version."""
        return {version: one for (of, version), one in self._claims.all().items() if of == group}

    async def run(self) -> None:
        """Fetch until cancelled."""
        async with asyncio.TaskGroup() as fetching:
            while True:
                self._woken.clear()
                self._begin(fetching)
                await self._wait()

    def _begin(self, fetching: asyncio.TaskGroup) -> None:
        """Begin to fetch what is due, and forget what nobody wants to know."""
        now_ms = self._clock.monotonic_ms()
        for asked, question in list(self._questions.items()):
            if question.fetching is not None and not question.fetching.done():
                continue
            if now_ms - question.asked_ms > FORGOTTEN_MS:
                del self._questions[asked]
            elif question.due_ms <= now_ms:
                question.due_ms = now_ms + EVERY_MS
                question.fetching = fetching.create_task(self._fetch(asked, question))

    async def _wait(self) -> None:
        resting = [one for one in self._questions.values() if one.fetching is None or one.fetching.done()]
        due_ms = min((question.due_ms for question in resting), default=None)
        left_s = None if due_ms is None else max(due_ms - self._clock.monotonic_ms(), 0) / 1000
        try:
            async with asyncio.timeout(left_s):
                await self._woken.wait()
        except TimeoutError:
            return

    async def _fetch(self, asked: Asked, question: _Question) -> None:
        try:
            question.answer = await self._answer(asked)
        except (FetchFailed, ApiError, forms.Unclear) as error:
            question.answer = str(error)
            _LOG.warning("metric_not_fetched", metric=asked.metric, namespace=asked.namespace, error=str(error))
        finally:
            # When it is due again is to be reckoned with from now on.
            self._woken.set()

    async def _answer(self, asked: Asked) -> Sequence[Value] | str:
        """Values, or why there are none. Raises FetchFailed, ApiError or Unclear."""
        served = self._claimants(asked.group)
        version = next((one for one in paths.VERSIONS[asked.group] if one in served), None)
        if version is None:
            known = ", ".join(paths.VERSIONS[asked.group])
            return f"no version of {asked.group} that is known here ({known}) is registered"
        if not is_available(served[version]):
            what = f"{asked.resource or asked.metric}.{asked.group}"
            return f"the server is currently unable to handle the request (get {what} {asked.name})"
        async with self._room:
            status, body = await self._ask(served[version], paths.path_of(asked, version))
        return forms.read(body) if status == _OK else _refusal(status, body)


def _refusal(code: int, body: bytes) -> str:
    """What an answer that is none says."""
    try:
        said = msgspec.json.decode(body, type=meta.Status).message
    except (msgspec.DecodeError, UnicodeError):
        said = ""
    return said or f"the server responded with the status code {code} but did not return more information"
