"""The likelihood of texts is normalised, is what is drawn from, and drawing and greedy reading end."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from scipy import stats
from torch import Tensor

from gnomon.blocks.token_head import TokenHead, begun_and_following
from gnomon.data import Ragged, Tokens
from gnomon.networks import make

KIND = Tokens(("a", "b"))


def head(name: str, longest: int = 4, scale: float = 0.5) -> TokenHead:
    torch.manual_seed(0)
    mapper = make("mapper", KIND, name, inputs=3, outputs=3, given=3, size=0.125)
    with torch.no_grad():
        for parameter in mapper.parameters():
            parameter.add_(scale * torch.randn_like(parameter))
    return TokenHead(mapper, symbols=2, context=3, longest=longest).double()


def texts(rows: list[tuple[int, ...]]) -> Ragged:
    return Ragged(torch.tensor([code for row in rows for code in row], dtype=torch.int64), torch.tensor([len(row) for row in rows]))


@pytest.mark.parametrize("name", ["recurrent", "causal"])
def test_probabilities_of_all_texts_sum_to_one(name: str) -> None:
    own = head(name)
    every = [row for length in range(12) for row in itertools.product((0, 1), repeat=length)]
    total = own(torch.randn(1, 3).double().expand(len(every), 3)).log_prob(texts(every)).exp()
    lengths = torch.tensor([len(row) for row in every])
    share = torch.stack([total[lengths <= most].sum() for most in range(12)])
    assert (share.diff() > 0).all() and share[-1] <= 1 + 1e-9
    left = 1 - share  # what is longer: shrinks by the chance to go on, never below zero
    assert left[-1] < 0.25 and (left >= -1e-9).all()


@pytest.mark.parametrize("name", ["recurrent", "causal"])
def test_a_text_is_the_product_of_its_steps(name: str) -> None:
    own, context, row = head(name), torch.randn(1, 3).double(), (1, 0, 0, 1)
    state, code, total = own.mapper.begin(1, context), torch.tensor([2]), 0.0
    for following in (*row, 2):
        logits, state = own.mapper.step(code, state, context)
        total += logits.log_softmax(-1)[0, following].item()
        code = torch.tensor([following])
    assert own(context).log_prob(texts([row])).item() == pytest.approx(total, abs=1e-6)


def test_what_is_drawn_has_the_probabilities_that_are_told() -> None:
    own, n = head("recurrent", longest=40), 4000
    context = torch.tensor([[0.3, -1.0, 0.5]]).double()
    torch.manual_seed(1)
    drawn = [tuple(row.tolist()) for row in own(context.expand(n, 3)).sample().split()]
    shown = [(), (0,), (1,), (0, 0), (0, 1), (1, 0), (1, 1)]
    expected = own(context.expand(len(shown), 3)).log_prob(texts(shown)).exp().tolist()
    counts = [drawn.count(row) for row in shown]
    counts, expected = [*counts, n - sum(counts)], [*expected, 1 - sum(expected)]
    assert stats.chisquare(counts, [n * share for share in expected]).pvalue > 1e-3


def test_greedy_reading_takes_the_best_symbol_and_ends() -> None:
    own, context = head("recurrent", longest=8), torch.randn(6, 3).double()
    for vector, row in zip(context, own(context).mean().split(), strict=True):
        prefix: list[int] = []
        for code in [*row.tolist(), 2]:
            if len(prefix) == own.most:
                break
            begun, _ = begun_and_following(texts([tuple(prefix)]), 2)
            assert own.mapper(begun, vector[None])[-1].argmax().item() == code
            prefix.append(code)


class Endless(torch.nn.Module):
    """A mapper that never ends a text."""

    def begin(self, n: int, given: Tensor) -> tuple[Tensor, ...]:
        return ()

    def step(self, codes: Tensor, state: tuple[Tensor, ...], given: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        return torch.tensor([0.0, 0.0, -1e9]).expand(len(codes), 3), ()


def test_no_text_is_longer_than_a_quarter_over_the_longest() -> None:
    density = TokenHead(Endless(), symbols=2, context=3, longest=10)(torch.zeros(5, 3))
    for made in (density.sample(), density.mean()):
        assert made.lengths.tolist() == [math.ceil(12.5)] * 5 and made.values.max() < 2
