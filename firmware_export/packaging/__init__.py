"""What wraps the exported C files for the one who builds and flashes them."""

from firmware_export.packaging.facts import Cost, PackageFacts
from firmware_export.packaging.write import write_packaging

__all__ = ["Cost", "PackageFacts", "write_packaging"]
