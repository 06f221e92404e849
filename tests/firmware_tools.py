"""What the tests of the firmware share: a skip where a compiler or an emulator is missing."""

import shutil

import pytest

from firmware_export.targets import TARGETS, Target

__all__ = ["require", "require_target"]


def require(tool: str) -> str:
    """The path of a program; where it is not installed the test skips, which conftest.py makes a failure in CI."""
    path = shutil.which(tool)
    if path is None:
        pytest.skip(f"needs {tool}")
    return path


def require_target(name: str) -> Target:
    """A target whose compiler and emulator are installed; the test skips otherwise."""
    target = TARGETS[name]
    for tool in (f"{target.prefix}gcc", *target.runner):
        require(tool)
    return target
