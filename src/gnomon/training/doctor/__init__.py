"""The doctor: watches a fit on a few batches and says in one line what is wrong and what helps.

The loop calls `Doctor`; `gradient_profile` and `loss_landscape` are asked for by hand.
"""

from gnomon.training.doctor.doctor import Doctor
from gnomon.training.doctor.pictures import GradientProfile, Landscape, gradient_profile, loss_landscape

__all__ = ["Doctor", "GradientProfile", "Landscape", "gradient_profile", "loss_landscape"]
