"""`orchard loadtest`: hands its arguments on to the load generator, which is a package of its own.

It is imported when it is asked for: `orchard serve` has no use for it.
"""

from __future__ import annotations

import typer


def loadtest(context: typer.Context) -> None:
    """Load a server of the session API with light clients and say what it cost."""
    from loadtest.cli import app

    app(context.args, prog_name="orchard loadtest")
