"""edgemoe: customizes a frozen handwriting recognizer on an edge device with a small mixture of experts."""

from edgemoe.device.global_expert import GlobalExpert, load_global_expert
from edgemoe.device.mixture import MixtureOfExperts
from edgemoe.device.personalizer import Personalizer
from edgemoe.errors import EdgemoeError

__all__ = ["EdgemoeError", "GlobalExpert", "MixtureOfExperts", "Personalizer", "load_global_expert"]
__version__ = "0.1.0"
