"""Profiles with another verdict than the acceptance test's, for the tests of what a mixture makes of it."""

import dataclasses
from typing import Any

from edgemoe.device.profile import Profile


def with_verdict(profile: Profile, **changes: Any) -> Profile:
    """The profile with fields of its verdict changed."""
    return dataclasses.replace(profile, verdict=dataclasses.replace(profile.verdict, **changes))
