"""Mixing of columns without a look at them: triangular factors, rotations, permutations; each invertible by construction."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from gnomon.blocks.bijections.bijection import Bijection, buffers
from gnomon.errors import OptionError

Mix = Callable[[Tensor], tuple[Tensor, Tensor]]


class _OnFirst(Bijection):
    """What mixes the first `columns` of `size` columns and leaves the rest.

    Args:
        size: number of columns.
        columns: how many of them, from the first, are mixed; None for all.
    """

    def __init__(self, size: int, columns: int | None) -> None:
        super().__init__()
        self.columns = size if columns is None else columns
        self.rest = size - self.columns

    def forward_and_log_det(self, x: Tensor, given: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """From data to noise."""
        return self._both(x, self._mixed)

    def inverse_and_log_det(self, z: Tensor, given: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """From noise to data."""
        return self._both(z, self._unmixed)

    def _both(self, x: Tensor, function: Mix) -> tuple[Tensor, Tensor]:
        mixed, rest = x.split([self.columns, self.rest], 1) if self.rest else (x, x)
        mixed, log_det = function(mixed)
        return torch.cat([mixed, rest], 1) if self.rest else mixed, log_det.expand(len(x))

    def _mixed(self, x: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def _unmixed(self, z: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError


class LULinear(_OnFirst):
    """An affine map of the first `columns` columns, ``x W^T + b`` with W = L U triangular, which starts as the identity.

    Args:
        size: number of columns.
        columns: how many of them, from the first, are mixed; None for all.

    Reference: Kingma & Dhariwal 2018, https://arxiv.org/abs/1807.03039

    Example:
        >>> LULinear(2).forward_and_log_det(torch.ones(1, 2))[0]
        tensor([[1., 1.]], grad_fn=<AddmmBackward0>)
    """

    unit: Tensor

    def __init__(self, size: int, *, columns: int | None = None) -> None:
        super().__init__(size, columns)
        self.factors = nn.Parameter(torch.zeros(self.columns, self.columns))  # below the diagonal L, above it U
        self.log_diagonal = nn.Parameter(torch.zeros(self.columns))
        self.bias = nn.Parameter(torch.zeros(self.columns))
        buffers(self, unit=torch.eye(self.columns))

    @torch.no_grad()
    def whiten(self, rows: Tensor) -> None:
        """Become the map that gives `rows` mean zero and, but for a shrinkage that few rows need, the unit matrix as covariance.

        Args:
            rows: ``(n, columns)``, two or more.

        Reference: Ledoit & Wolf 2004, J. Multivariate Analysis 88, 365 (the shrinkage).
        """
        from sklearn.covariance import ledoit_wolf

        wide = rows.double().cpu()
        covariance = torch.from_numpy(ledoit_wolf(wide.numpy())[0])
        typical = covariance.diagonal().mean()
        if not typical > 0:
            return
        lower = torch.linalg.cholesky(covariance + 1e-4 * typical * torch.eye(self.columns, dtype=torch.float64))
        white = torch.linalg.solve_triangular(lower, torch.eye(self.columns, dtype=torch.float64), upper=False)
        diagonal = white.diagonal()
        self.factors.copy_((white / diagonal).tril(-1))
        self.log_diagonal.copy_(diagonal.log())
        self.bias.copy_(-white @ wide.mean(0))

    def _mixed(self, x: Tensor) -> tuple[Tensor, Tensor]:
        lower, upper = self._triangles()
        return torch.addmm(self.bias, x, (lower @ upper).T), self.log_diagonal.sum()

    def _unmixed(self, z: Tensor) -> tuple[Tensor, Tensor]:
        lower, upper = self._triangles()
        solved = torch.linalg.solve_triangular(lower, (z - self.bias).T, upper=False, unitriangular=True)
        return torch.linalg.solve_triangular(upper, solved, upper=True).T, -self.log_diagonal.sum()

    def _triangles(self) -> tuple[Tensor, Tensor]:
        return self.factors.tril(-1) + self.unit, self.factors.triu(1) + self.unit * self.log_diagonal.exp()


class OrthogonalLinear(_OnFirst):
    """A learned rotation of the first `columns` columns: a product of reflections, which starts as the identity.

    ``x H₁ H₂ …`` with an even number of Householder reflections H = I - 2 v vᵀ / vᵀv, as many as make any rotation, held together as
    I - V T Vᵀ, where T⁻¹ is the upper triangle of VᵀV with its diagonal halved. So the map is orthogonal whatever the parameters,
    volumes stay as they are, and the inverse, the transpose, is exact. At the start the reflections come in pairs of equals.

    Args:
        size: number of columns.
        columns: how many of them, from the first, are mixed; None for all.

    Reference: Tomczak & Welling 2016, https://arxiv.org/abs/1611.09630; the product: Joffrain et al. 2006,
    https://doi.org/10.1145/1141885.1141886

    Example:
        >>> z, log_det = OrthogonalLinear(4).forward_and_log_det(torch.ones(1, 4))
        >>> torch.allclose(z, torch.ones(1, 4), atol=1e-5), log_det
        (True, tensor([0.]))
    """

    def __init__(self, size: int, *, columns: int | None = None) -> None:
        super().__init__(size, columns)
        self.vectors = nn.Parameter(torch.randn(self.columns, self.columns // 2).repeat_interleave(2, 1))

    def _mixed(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x - (x @ self.vectors) @ self._solved(), x.new_zeros(())

    def _unmixed(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return z - (z @ self._solved().T) @ self.vectors.T, z.new_zeros(())

    def _solved(self) -> Tensor:
        """T Vᵀ."""
        products = self.vectors.T @ self.vectors
        halved = products.triu(1) + 0.5 * products.diagonal().diag_embed()
        return torch.linalg.solve_triangular(halved, self.vectors.T, upper=True)


class Permutation(Bijection):
    """Another order of the columns.

    Args:
        order: for each place the column that comes there.

    Raises:
        OptionError: `order` does not name each column once.

    Example:
        >>> Permutation((2, 0, 1)).forward_and_log_det(torch.tensor([[1.0, 2.0, 3.0]]))[0]
        tensor([[3., 1., 2.]])
    """

    order: Tensor
    places: Tensor

    def __init__(self, order: Sequence[int]) -> None:
        super().__init__()
        laid = torch.tensor(order, dtype=torch.int64)
        if sorted(order) != list(range(len(order))):
            raise OptionError(f"a permutation of {len(order)} columns names each of them once; got {tuple(order)}")
        buffers(self, order=laid, places=laid.argsort())

    def forward_and_log_det(self, x: Tensor, given: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """From data to noise."""
        return x.index_select(1, self.order), x.new_zeros(len(x))

    def inverse_and_log_det(self, z: Tensor, given: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """From noise to data."""
        return z.index_select(1, self.places), z.new_zeros(len(z))
