"""Invertible maps: what normalising flows are made of."""

from gnomon.blocks.bijections.actnorm import ActNorm
from gnomon.blocks.bijections.affine import AffineAutoregressive, AffineCoupling, Affines
from gnomon.blocks.bijections.autoregressive import Autoregressive, AutoregressiveSpline, rotations
from gnomon.blocks.bijections.bijection import Bijection, Chain
from gnomon.blocks.bijections.box import Box
from gnomon.blocks.bijections.conditioner import Conditioner
from gnomon.blocks.bijections.continuous import Continuous, Velocity
from gnomon.blocks.bijections.coupling import Coupling, SplineCoupling, splits
from gnomon.blocks.bijections.elementwise import Elementwise, Splines
from gnomon.blocks.bijections.image import FactorOut, ImageConditioner, ImageCoupling, PerPixel, Squeeze
from gnomon.blocks.bijections.linear import LULinear, OrthogonalLinear, Permutation
from gnomon.blocks.bijections.masked import AutoregressiveConditioner, MaskedLinear
from gnomon.blocks.bijections.planar import Planar
from gnomon.blocks.bijections.radial import Radial
from gnomon.blocks.bijections.roots import rising_root
from gnomon.blocks.bijections.splines import raw_size, spline_forward, spline_inverse, spline_table, wrapped

__all__ = [
    "ActNorm",
    "AffineAutoregressive",
    "AffineCoupling",
    "Affines",
    "Autoregressive",
    "AutoregressiveConditioner",
    "AutoregressiveSpline",
    "Bijection",
    "Box",
    "Chain",
    "Conditioner",
    "Continuous",
    "Coupling",
    "Elementwise",
    "FactorOut",
    "ImageConditioner",
    "ImageCoupling",
    "LULinear",
    "MaskedLinear",
    "OrthogonalLinear",
    "PerPixel",
    "Permutation",
    "Planar",
    "Radial",
    "SplineCoupling",
    "Splines",
    "Squeeze",
    "Velocity",
    "raw_size",
    "rising_root",
    "rotations",
    "spline_forward",
    "spline_inverse",
    "spline_table",
    "splits",
    "wrapped",
]
