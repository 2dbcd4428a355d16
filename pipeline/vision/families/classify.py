"""Classification: what a picture is, not where. The whole picture becomes the box.

classify-softmax   [b,c] one answer of many; Ultralytics' classifiers have the softmax in the graph already, so that
                   `output.activation = "none"` (ultralytics/ultralytics, nn/modules/head.py)
classify-sigmoid   [b,c] each class for itself

A class that means "nothing to see" needs a threshold that no score reaches, e.g. 1.1.
"""

from __future__ import annotations

import numpy as np

from pipeline.vision.families.base import Convention, Family, Plan, Raw, Tensors, probabilities, refuse
from pipeline.vision.families.pairs import IMAGENET


def classify(tensors: Tensors, plan: Plan) -> list[Raw]:
    scores = tensors["output"]
    if scores.ndim != 2:
        raise refuse("of classification", "[b,c]", tensors)
    whole = np.array([[0, 0, plan.width, plan.height]], np.float32)
    return [Raw(whole, row[None]) for row in probabilities(scores, plan)]


CLASSIFY = {
    f"classify-{activation}": Family(
        ("output",), classify, Convention(activation=activation), IMAGENET, suppressed=True
    )
    for activation in ("softmax", "sigmoid")
}
