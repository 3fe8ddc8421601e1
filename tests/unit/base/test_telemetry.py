"""Logs of ours and of libraries in one stream, for people or for machines."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from mizzen.base.telemetry import exponential, set_up_logs


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """Put the process's logs back."""
    handlers, level = list(logging.root.handlers), logging.root.level
    yield
    structlog.reset_defaults()
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


def test_json_has_a_line_for_each_event() -> None:
    stream = io.StringIO()
    set_up_logs(form="json", stream=stream)
    structlog.get_logger().info("pod_started", pod="a")
    structlog.get_logger().debug("not_heard")
    logging.getLogger("library").warning("heard %s", "too")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["pod_started", "heard too"]
    assert (lines[0]["pod"], lines[0]["level"]) == ("a", "info")


def test_text_is_for_people() -> None:
    stream = io.StringIO()
    set_up_logs("debug", stream=stream)
    try:
        raise ZeroDivisionError("a defect")
    except ZeroDivisionError:
        structlog.get_logger().exception("pod_failed", pod="a")
    assert "pod_failed" in stream.getvalue()
    assert "ZeroDivisionError: a defect" in stream.getvalue()


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(KeyError):
        set_up_logs("loud")


def test_buckets_grow_by_a_factor() -> None:
    assert exponential(0.001, 2, 3) == (0.001, 0.002, 0.004)
