"""`mizzen agent`: runs this machine as a node until it is told to stop; see `nodeagent.drive.command`."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    # The logging library loads rich to draw tracebacks, where it finds it: 5 MB that a daemon has no use for.
    sys.modules["rich"] = None  # type: ignore[assignment]

from nodeagent.drive.command import AgentError, main, run_agent
from nodeagent.drive.settings import AgentSettings

__all__ = ["AgentError", "AgentSettings", "main", "run_agent"]

if __name__ == "__main__":
    raise SystemExit(main())
