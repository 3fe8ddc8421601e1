"""Lists of 5,000 pods, 100 watchers, and the memory that they take, of a real server beside one that only answers.

Run: python -m tests.benchmarks.bench_lists. `lists_client`, a process of its own, asks and prints.
"""

from __future__ import annotations

from tests.benchmarks import report
from tests.benchmarks.bench_api import against


def main() -> None:
    """Start a server and let the client measure it."""
    report.section("API, large: lists of 5,000 pods and changes to 100 watchers, over REST")
    against("tests.benchmarks.lists_client")


if __name__ == "__main__":
    report.part(main)
