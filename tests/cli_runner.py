"""Runs the command line in this process, as its console script does."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from edgemoe.cli import app


def edgemoe(*arguments: object) -> int:
    """Return the exit code; stdout and stderr are for `capsys` to read."""
    with pytest.raises(SystemExit) as exit_:
        app([str(argument) for argument in arguments])
    return int(exit_.value.code or 0)


def failure(capsys: pytest.CaptureFixture[str]) -> str:
    """Return the one line that says why, and check that it is one and stdout is empty."""
    out, err = capsys.readouterr()
    assert out == ""
    lines = [line for line in err.splitlines() if line.startswith("edgemoe: ")]
    assert len(lines) == 1
    assert err.splitlines()[-1] == lines[0]
    return lines[0]


@contextmanager
def interrupted(title: str, epochs: int) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Stand in for a verb's `epochs_bar`: presses Ctrl-C after the first epoch."""

    def report(event: dict[str, Any]) -> None:
        if event.get("epoch") == 1:
            raise KeyboardInterrupt

    yield report
