"""Random changes of examples that leave their meaning alone, made in training only.

Which changes leave it alone is for the user, or for the model that uses them, to say.
"""

from gnomon.blocks.augmentation.change import ImageChange, RandomChange
from gnomon.blocks.augmentation.columns import ColumnNoise, ColumnSwap
from gnomon.blocks.augmentation.geometry import RandomCrop, RandomErasing, RandomFlip, RandomRotation, RandomScale
from gnomon.blocks.augmentation.intensity import (
    RandomBlur,
    RandomColour,
    RandomContrast,
    RandomDownsampling,
    RandomEdge,
    RandomNoise,
    RandomPCA,
)
from gnomon.blocks.augmentation.shift import RandomShift, RandomTranslation
from gnomon.blocks.augmentation.table import augmentations, make_augmentation, parse_augment, suiting

__all__ = [
    "ColumnNoise",
    "ColumnSwap",
    "ImageChange",
    "RandomBlur",
    "RandomChange",
    "RandomColour",
    "RandomContrast",
    "RandomCrop",
    "RandomDownsampling",
    "RandomEdge",
    "RandomErasing",
    "RandomFlip",
    "RandomNoise",
    "RandomPCA",
    "RandomRotation",
    "RandomScale",
    "RandomShift",
    "RandomTranslation",
    "augmentations",
    "make_augmentation",
    "parse_augment",
    "suiting",
]
