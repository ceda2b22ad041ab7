"""Floor 1: parameterised functional blocks, which know nothing of what they are used for."""

from gnomon.blocks.activations import activation_class, activations, gain, make_activation, pieces
from gnomon.blocks.columns import ColumnDensity, ColumnFeatures, ColumnHead, hard
from gnomon.blocks.convolution import ConvNormAct, Downsample, ResidualConv, Upsample, convolution, normalisation
from gnomon.blocks.dense import MLP, ResidualMLP
from gnomon.blocks.initialisers import Initialiser, initialise, initialisers
from gnomon.blocks.segments import SegmentSum, segment_max, segment_mean, segment_sum
from gnomon.blocks.stochastic_depth import DropPath, rising

__all__ = [
    "MLP",
    "ColumnDensity",
    "ColumnFeatures",
    "ColumnHead",
    "ConvNormAct",
    "Downsample",
    "DropPath",
    "Initialiser",
    "ResidualConv",
    "ResidualMLP",
    "SegmentSum",
    "Upsample",
    "activation_class",
    "activations",
    "convolution",
    "gain",
    "hard",
    "initialise",
    "initialisers",
    "make_activation",
    "normalisation",
    "pieces",
    "rising",
    "segment_max",
    "segment_mean",
    "segment_sum",
]
