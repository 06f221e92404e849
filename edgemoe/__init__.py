"""edgemoe: customizes a frozen handwriting recognizer on an edge device with a small mixture of experts."""

from edgemoe.device.global_expert import GlobalExpert, load_global_expert
from edgemoe.device.mixture import MixtureOfExperts
from edgemoe.device.personalizer import Personalizer
from edgemoe.errors import EdgemoeError
from edgemoe.global_expert.adopt import adopt_onnx

__all__ = ["EdgemoeError", "GlobalExpert", "MixtureOfExperts", "Personalizer", "adopt_onnx", "load_global_expert"]
__version__ = "0.1.0"
