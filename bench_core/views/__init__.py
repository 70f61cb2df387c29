"""Views for authors of methods: batched random augmentations that run on the device of the images.

pipeline.py      `augment`: draws an augmentation for each image of a batch and applies it
augmentation.py  Augmentation, which says what may happen to an image, and the random draws of what does happen
presets.py       augmentations of published methods, by name
image_ops.py     the image operations, with one parameter for each image: crop, blur, jitter, affine, ...
"""

from bench_core.views.augmentation import Augmentation as Augmentation
from bench_core.views.augmentation import draw_boxes as draw_boxes
from bench_core.views.pipeline import augment as augment
from bench_core.views.pipeline import compiled as compiled
from bench_core.views.presets import PRESET_NAMES as PRESET_NAMES
from bench_core.views.presets import PRESETS as PRESETS
from bench_core.views.presets import check_preset as check_preset
from bench_core.views.presets import preset as preset
from bench_core.views.presets import used_preset as used_preset

__all__ = [
    "PRESETS",
    "PRESET_NAMES",
    "Augmentation",
    "augment",
    "check_preset",
    "compiled",
    "draw_boxes",
    "preset",
    "used_preset",
]
