"""Every shipped expert on the oldest onnxruntime that pyproject.toml allows: it reads, and is personalized once.

A plain script for an interpreter that has that version, numpy and pillow alone; pytest does not collect it.

Usage: PYTHONPATH=. /path/to/that/python tests/oldest_runtime.py
"""

import onnxruntime

from edgemoe import Personalizer, load_global_expert
from edgemoe.device.global_expert import shipped_experts
from edgemoe.simulator import generic_samples, simulated_samples

AGREEMENT = 0.95  # of the int8 form's answers with the float form's; 0.99 is usual

print(f"onnxruntime {onnxruntime.__version__}")
for name in shipped_experts():
    expert = load_global_expert(name)
    images, _ = generic_samples(seed=1, per_class=10, classes=expert.classes)
    same = (expert.predict(images) == load_global_expert(name, form="float32").predict(images)).mean()
    taught, labels = simulated_samples(seed=1, per_class=5, classes=expert.classes)
    moe = Personalizer(expert).fit(taught, labels)
    before, after = (expert.predict(taught) == labels).mean(), (moe.predict(taught) == labels).mean()
    print(f"{name}: int8 answers as float32 on {same:.1%}, the writer's own characters {before:.1%} -> {after:.1%}")
    if same < AGREEMENT or after < before:
        raise SystemExit(f"{name}: not what it is with a new onnxruntime")
