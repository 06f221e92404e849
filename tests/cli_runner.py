"""Runs the command line in this process, as its console script does."""

import pytest

from edgemoe.cli import app


def edgemoe(*arguments: object) -> int:
    """Return the exit code; stdout and stderr are for `capsys` to read."""
    with pytest.raises(SystemExit) as exit_:
        app([str(argument) for argument in arguments])
    return int(exit_.value.code or 0)
