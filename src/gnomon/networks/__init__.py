"""Floor 2: assemblies of blocks by role (encoder, decoder, mapper) and kind of data, which know nothing of losses."""

from gnomon.networks.condition import Condition
from gnomon.networks.factory import DEFAULTS, make, options_of, shared_out
from gnomon.networks.images import ConvDecoder, ConvEncoder, UNet
from gnomon.networks.sequences import CausalNetwork, RecurrentNetwork, Transformer
from gnomon.networks.sets import DeepSets
from gnomon.networks.vectors import ResidualVectorNetwork, VectorNetwork

__all__ = [
    "DEFAULTS",
    "CausalNetwork",
    "Condition",
    "ConvDecoder",
    "ConvEncoder",
    "DeepSets",
    "RecurrentNetwork",
    "ResidualVectorNetwork",
    "Transformer",
    "UNet",
    "VectorNetwork",
    "make",
    "options_of",
    "shared_out",
]
