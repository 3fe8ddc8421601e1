"""The verbs that hand over: `server`, `agent`, `up`, `down`, `lab`.

The command line is part of the public package, which knows nothing of the control plane or the node agent; they are
run by their names, with the rest of the command line as theirs.
"""

from __future__ import annotations

import os
import sys

import typer

PROGRAMS = {
    "server": ("controlplane", (), "Run a control plane in the foreground."),
    "agent": ("nodeagent", (), "Run this machine as a node."),
    "up": ("deploy.up", ("up",), "Bring up a one-node cluster with a demo on this machine."),
    "down": ("deploy.up", ("down",), "Remove what `up` started."),
    "lab": ("deploy.lab", (), "Several machines on this one, for trying things out."),
}


def add_to(app: typer.Typer) -> None:
    """Adds the verbs; their options belong to the programs that they run, --help included."""
    settings = {"allow_extra_args": True, "ignore_unknown_options": True}
    for name, (_, _, text) in PROGRAMS.items():
        app.command(name, help=text, context_settings=settings, add_help_option=False)(_run)


def _run(context: typer.Context) -> None:
    module, first, _ = PROGRAMS[str(context.info_name)]
    # In place of this process, not inside it: what the command line has loaded would stay in memory for ever.
    os.execv(sys.executable, [sys.executable, "-m", module, *first, *context.args])
