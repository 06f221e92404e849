"""What the tests of the firmware share: a skip where a compiler or an emulator is missing."""

import os
import shutil

import pytest

from firmware_export.targets import TARGETS, Target

__all__ = ["require", "target_or_skip"]


def require(tool: str) -> str:
    """The path of a program; skips the test if it is not installed, or fails it if $EDGEMOE_REQUIRE_ALL is set."""
    path = shutil.which(tool)
    if path is None:
        (pytest.fail if os.environ.get("EDGEMOE_REQUIRE_ALL") else pytest.skip)(f"needs {tool}")
    return path


def target_or_skip(name: str) -> Target:
    """A target whose compiler and emulator are installed; skips, or fails, otherwise."""
    target = TARGETS[name]
    for tool in (f"{target.prefix}gcc", *target.runner[:1]):
        require(tool)
    return target
