"""`mizzen version`."""

from __future__ import annotations

from importlib.metadata import version as installed

import typer


def add_to(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("version")(version)


def version() -> None:
    """Show which version this is."""
    typer.echo(f"mizzen {installed('mizzen')} (Kubernetes API 1.36)")
