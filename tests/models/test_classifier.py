"""The classifier against the formulas of cross-entropy and smoothing, and on classes that can be told apart."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from gnomon.data import Examples, Label, Ragged, Set, Spec, Vector
from gnomon.errors import DataError, OptionError
from gnomon.models.classifier import Classifier

SPEC = Spec(Vector.real(2), y=Label(("low", "middle", "high")))


class Read(nn.Module):
    """An encoder whose outputs are handed to it."""

    def __init__(self, outputs: Tensor) -> None:
        super().__init__()
        self.outputs = nn.Parameter(outputs)

    def forward(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        return self.outputs


def test_the_loss_is_minus_the_log_probability_of_the_class() -> None:
    logits = torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]])
    loss = Classifier(SPEC, encoder=Read(logits)).loss(Examples(torch.zeros(2, 2), y=torch.tensor([2, 0])))
    first = math.log(math.exp(1) + math.exp(2) + math.exp(3)) - 3
    assert loss.total.item() == pytest.approx(first + math.log(3), rel=1e-5)


def test_smoothing_spreads_a_share_of_the_target_in_training_only() -> None:
    logits, y = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([2])
    model = Classifier(SPEC, encoder=Read(logits), label_smoothing=0.3)
    batch = Examples(torch.zeros(1, 2), y=y)
    minus_log_p = -logits.log_softmax(-1)[0]
    assert model.loss(batch).total.item() == pytest.approx((minus_log_p * torch.tensor([0.1, 0.1, 0.8])).sum().item(), rel=1e-5)
    assert model.validate(batch).total.item() == pytest.approx(minus_log_p[2].item(), rel=1e-5)


def test_validation_reports_the_weighted_accuracy() -> None:
    logits = torch.tensor([[5.0, 0, 0], [5.0, 0, 0], [0, 5.0, 0], [0, 0, 5.0]])
    model = Classifier(SPEC, encoder=Read(logits))
    batch = Examples(torch.zeros(4, 2), y=torch.tensor([0, 1, 1, 2]))
    assert model.validate(batch).parts["accuracy"].item() == 3
    weighted = batch.with_(weight=torch.tensor([1.0, 2.0, 0.5, 0.5]))
    assert model.validate(weighted).parts["accuracy"].item() == 2


def test_it_learns_classes_that_overlap_to_the_best_possible_loss() -> None:
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(0, 2, (4000,), generator=generator)
    x = torch.randn(4000, 1, generator=generator) + 2.0 * y[:, None]
    torch.manual_seed(0)
    model = Classifier(Spec(Vector.real(1), y=Label((0, 1))), net={"hidden": ()})
    optimiser = torch.optim.LBFGS(model.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = model.loss(Examples(x, y=y))
        (loss.total / loss.weight).backward()
        return loss.total / loss.weight

    optimiser.step(closure)
    grid = torch.linspace(-2, 4, 50)[:, None]
    log_odds = model.predict(Examples(grid)) @ torch.tensor([-1.0, 1.0])
    torch.testing.assert_close(log_odds, 2 * grid[:, 0] - 2, atol=0.35, rtol=0.1)  # log N(x; 2, 1) - log N(x; 0, 1)


def test_the_order_of_a_set_does_not_matter() -> None:
    torch.manual_seed(0)
    model = Classifier(Spec(Set(Vector.real(2)), y=Label((0, 1)))).eval()
    values = torch.randn(5, 2)
    there, back = (Examples(Ragged(v, torch.tensor([5, 0]))) for v in (values, values.flip(0)))
    torch.testing.assert_close(model.predict(there), model.predict(back))


@pytest.mark.parametrize("target", [None, Vector.real(1)])
def test_a_target_that_is_no_label_is_refused(target: Vector | None) -> None:
    with pytest.raises(DataError, match="Classifier wants y to be Label; got (nothing|Vector)"):
        Classifier(Spec(Vector.real(2), y=target))


def test_a_single_class_is_refused() -> None:
    with pytest.raises(DataError, match="at least two classes in 'species'; got 1"):
        Classifier(Spec(Vector.real(2), y=Label(("cat",), name="species")))


def test_a_batch_without_its_target_is_refused() -> None:
    with pytest.raises(DataError, match="has no values for a role"):
        Classifier(SPEC).loss(Examples(torch.zeros(2, 2)))


@pytest.mark.parametrize("smoothing", [-0.1, 1.0])
def test_smoothing_out_of_range_is_refused(smoothing: float) -> None:
    with pytest.raises(OptionError, match="label_smoothing"):
        Classifier(SPEC, label_smoothing=smoothing)


def test_features_are_what_the_logits_are_made_from() -> None:
    spec = Spec(Vector.real(3), y=Label((0, 1, 2)))
    model = Classifier(spec, net={"hidden": "16,8"}).eval()
    batch = Examples(torch.randn(5, 3))
    last = [module for module in model.encoder.modules() if isinstance(module, torch.nn.Linear)][-1]
    made = model.features(batch)
    assert made.shape == (5, 8) and torch.allclose(last(made), model.predict(batch)) and not last._forward_pre_hooks
    with pytest.raises(OptionError, match="this encoder has none"):
        Classifier(spec, encoder=torch.nn.Identity()).features(batch)
