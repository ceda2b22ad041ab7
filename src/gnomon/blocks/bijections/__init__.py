"""Invertible maps: what normalising flows are made of."""

from gnomon.blocks.bijections.autoregressive import AutoregressiveSpline, rotations
from gnomon.blocks.bijections.bijection import Bijection, Chain
from gnomon.blocks.bijections.box import Box
from gnomon.blocks.bijections.conditioner import Conditioner
from gnomon.blocks.bijections.coupling import SplineCoupling, splits
from gnomon.blocks.bijections.linear import LULinear
from gnomon.blocks.bijections.masked import AutoregressiveConditioner, MaskedLinear
from gnomon.blocks.bijections.splines import raw_size, spline_forward, spline_inverse, spline_table, wrapped

__all__ = [
    "AutoregressiveConditioner",
    "AutoregressiveSpline",
    "Bijection",
    "Box",
    "Chain",
    "Conditioner",
    "LULinear",
    "MaskedLinear",
    "SplineCoupling",
    "raw_size",
    "rotations",
    "spline_forward",
    "spline_inverse",
    "spline_table",
    "splits",
    "wrapped",
]
