"""The one exception that edgemoe raises for input it cannot use."""

__all__ = ["EdgemoeError"]


class EdgemoeError(ValueError):
    """Bad input. The message is one sentence that names the file and the field at fault."""
