"""Floor 1: parameterised functional blocks, which know nothing of what they are used for."""

from gnomon.blocks.activations import activation_class, activations, gain, initialise
from gnomon.blocks.columns import ColumnDensity, ColumnFeatures, ColumnHead, hard
from gnomon.blocks.convolution import ConvNormAct, Downsample, ResidualConv, Upsample, convolution, normalisation
from gnomon.blocks.dense import MLP, ResidualMLP
from gnomon.blocks.segments import SegmentSum, segment_max, segment_mean, segment_sum

__all__ = [
    "MLP",
    "ColumnDensity",
    "ColumnFeatures",
    "ColumnHead",
    "ConvNormAct",
    "Downsample",
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
    "normalisation",
    "segment_max",
    "segment_mean",
    "segment_sum",
]
