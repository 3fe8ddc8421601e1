"""The command: its verbs, and what they have in common (which cluster, how errors are told)."""

from __future__ import annotations

import os
import sys
from typing import Any, NoReturn

import typer

from mizzen.api.errors import ApiError
from mizzen.cli import apply, daemons, delete, describe, exec_, get, image, logs, plan, rollout, scale, token, version
from mizzen.cli.common import CommandError
from mizzen.cli.manifests import ManifestError
from mizzen.cli.names import NameProblem
from mizzen.client.config import ConfigError

UsageError: Any = typer.BadParameter.__bases__[0]
"""What all mistakes in a command line are; Typer gives it no name of its own."""

app = typer.Typer(
    name="mizzen",
    help="A container orchestrator that speaks Kubernetes and shows its plan.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for verb in (get, apply, delete, describe, logs, exec_, scale, plan, version):
    verb.add_to(app)
app.add_typer(rollout.app, name="rollout")
app.add_typer(token.app, name="token")
app.add_typer(image.app, name="image")
daemons.add_to(app)


def main() -> None:
    """Run the command; what the user can mend is told in one line."""
    try:
        sys.exit(app(standalone_mode=False))
    except UsageError as error:
        _tell_usage(error)
    except ApiError as error:
        reason = f" ({error.reason})" if error.reason else ""
        sys.exit(f"Error from server{reason}: {error.message}")
    except (CommandError, ConfigError, ManifestError, NameProblem) as error:
        sys.exit(f"error: {error}")
    except typer.Abort:
        sys.exit(130)
    except BrokenPipeError:
        # Whoever read the output has seen enough; the interpreter must not try to write the rest.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _tell_usage(error: Any) -> NoReturn:
    said = error.format_message().rstrip(".")  # nothing where the whole help has been shown, for want of a verb
    if said and error.ctx is not None:
        said = f"error: {said}; see `{error.ctx.command_path} --help`"
    if said:
        sys.stderr.write(f"{said}\n")
    sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
