"""The few tests that every block and every network passes: one table of cases per room feeds them all.

A case is how to build the module and what to call it with; the tests know nothing else of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from beartype import beartype
from jaxtyping import jaxtyped
from torch import Tensor, nn
from torch.func import functional_call, jvp, stack_module_state, vmap

from gnomon.data import Ragged


@dataclass(frozen=True)
class Case:
    """One row of a table.

    Args:
        build: makes the module; weights come from the global generator.
        arguments: makes the arguments of a call, from a generator; the first is what the tests differentiate by.
        rows: examples in the arguments: the batch can be taken apart along the first axis of every tensor.
        smooth: whether the output has derivatives by the first argument (one-hot codes have none).
        moves: whether each of the parameters acts on the output.
    """

    build: Callable[[], nn.Module]
    arguments: Callable[[torch.Generator], tuple[Any, ...]]
    rows: int | None = 4
    smooth: bool = True
    moves: bool = True


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int) -> Callable[[torch.Generator], tuple[Tensor, ...]]:
    """Arguments: one normal tensor."""
    return lambda generator: (torch.randn(*shape, generator=generator),)


def normals(*shapes: tuple[int, ...]) -> Callable[[torch.Generator], tuple[Tensor, ...]]:
    """Arguments: one normal tensor per shape."""
    return lambda generator: tuple(torch.randn(*shape, generator=generator) for shape in shapes)


def shaken(case: Case, seed: int = 0) -> nn.Module:
    """The module with every parameter moved off its start, so that parts that start at zero act too."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        module = case.build()
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(0.2 * torch.randn_like(parameter))
    return module


def double(value: Any) -> Any:
    if isinstance(value, Ragged):
        return replace(value, values=value.values.double())
    return value.double() if isinstance(value, Tensor) and value.is_floating_point() else value


def opened(first: Any) -> tuple[Tensor, Callable[[Tensor], Any]]:
    """The tensor inside the first argument, and how to put another in its place."""
    if isinstance(first, Ragged):
        return first.values, lambda values: replace(first, values=values)
    return first, lambda x: x


def directed(case: Case) -> tuple[nn.Module, Callable[[Tensor], Tensor], Tensor]:
    """The module in float64, its output as a function of one tensor, and that tensor."""
    module = shaken(case).double()
    arguments = tuple(double(a) for a in case.arguments(seeded(1)))
    x, close = opened(arguments[0])
    return module, lambda value: module(close(value), *arguments[1:]), x


class ModuleContract:
    """The tests; a room's class inherits them and gives the fixture `case`."""

    def test_shapes_are_those_of_the_signature(self, case: Case) -> None:
        module = shaken(case)
        arguments = case.arguments(seeded(1))
        checked = jaxtyped(typechecker=beartype)(type(module).forward)
        assert torch.isfinite(checked(module, *arguments)).all()

    def test_same_seed_same_weights(self, case: Case) -> None:
        states = []
        for seed in (3, 3, 4):
            with torch.random.fork_rng(devices=()):
                torch.manual_seed(seed)
                states.append(case.build().state_dict())
        assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])
        drawn = [k for k, v in states[0].items() if v.is_floating_point() and v.numel() and v.min() < v.max()]
        assert all(not torch.equal(states[0][k], states[2][k]) for k in drawn)

    def test_state_round_trip(self, case: Case) -> None:
        module, other, arguments = shaken(case, 0), shaken(case, 1), case.arguments(seeded(1))
        state = {k: v.clone() for k, v in module.state_dict().items()}
        assert all(v.is_contiguous() for v in state.values())
        assert len({v.data_ptr() for v in module.parameters()}) == len(list(module.parameters()))
        other.load_state_dict(state, strict=True)
        assert torch.equal(module(*arguments), other(*arguments))

    def test_every_parameter_acts(self, case: Case) -> None:
        if not case.moves:
            pytest.skip("has parameters that do not act here")
        module = shaken(case)
        if not list(module.parameters()):
            pytest.skip("has no parameters")
        module(*case.arguments(seeded(1))).square().sum().backward()
        for name, parameter in module.named_parameters():
            assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name

    def test_examples_do_not_see_each_other(self, case: Case) -> None:
        if case.rows is None:
            pytest.skip("elements of a row are meant to see each other")
        module, arguments = shaken(case).double().eval(), [double(a) for a in case.arguments(seeded(1))]
        whole = module(*arguments)
        parts = [module(*(a[i : i + 1] if isinstance(a, (Tensor, Ragged)) else a for a in arguments)) for i in range(case.rows)]
        torch.testing.assert_close(whole, torch.cat(parts), rtol=1e-10, atol=1e-12)

    def test_no_examples_are_legal(self, case: Case) -> None:
        if case.rows is None:
            pytest.skip("takes its count as an argument")
        module, arguments = shaken(case), case.arguments(seeded(1))
        whole = module(*arguments)
        none = module(*(a[:0] if isinstance(a, (Tensor, Ragged)) else a for a in arguments))
        assert none.shape == (0, *whole.shape[1:])

    def test_gradients_are_right(self, case: Case) -> None:
        if not case.smooth:
            pytest.skip("has no derivative")
        _, function, x = directed(case)
        assert torch.autograd.gradcheck(function, x.requires_grad_(), fast_mode=True, atol=1e-6, rtol=1e-4)

    def test_second_gradients_are_right(self, case: Case) -> None:
        if not case.smooth:
            pytest.skip("has no derivative")
        _, function, x = directed(case)
        x.requires_grad_()
        (slope,) = torch.autograd.grad(function(x).square().sum(), x, create_graph=True)
        if not slope.requires_grad:
            assert torch.autograd.gradcheck(function, x)
            return
        generator = seeded(2)
        towards = torch.randn(x.shape, dtype=x.dtype, generator=generator)
        (exact,) = torch.autograd.grad((slope * towards).sum(), x)
        h = 1e-5

        def slope_at(value: Tensor) -> Tensor:
            value = value.detach().requires_grad_()
            return torch.autograd.grad(function(value).square().sum(), value)[0]

        numeric = (slope_at(x + h * towards) - slope_at(x - h * towards)) / (2 * h)
        torch.testing.assert_close(exact, numeric, rtol=1e-4, atol=1e-5 * float(numeric.abs().max()) + 1e-9)

    def test_penalty_reaches_the_parameters(self, case: Case) -> None:
        if not case.smooth:
            pytest.skip("has no derivative")
        module, function, x = directed(case)
        if not list(module.parameters()):
            pytest.skip("has no parameters")
        slope = torch.autograd.grad(function(x.requires_grad_()).square().sum(), x, create_graph=True)[0]
        if slope.requires_grad:
            slope.square().sum().backward()
            grads = [p.grad for p in module.parameters() if p.grad is not None]
            assert grads and all(torch.isfinite(g).all() for g in grads) and any(g.abs().sum() > 0 for g in grads)

    def test_forward_mode_agrees_with_differences(self, case: Case) -> None:
        if not case.smooth:
            pytest.skip("has no derivative")
        _, function, x = directed(case)
        towards = torch.randn(x.shape, dtype=x.dtype, generator=seeded(2))
        _, exact = jvp(function, (x,), (towards,))
        h = 1e-6
        numeric = (function(x + h * towards) - function(x - h * towards)).detach() / (2 * h)
        torch.testing.assert_close(exact, numeric, rtol=1e-5, atol=1e-6 * float(numeric.abs().max()) + 1e-9)

    def test_vmap_over_stacked_parameters(self, case: Case) -> None:
        modules = [shaken(case, seed).double() for seed in range(3)]
        arguments = tuple(double(a) for a in case.arguments(seeded(1)))
        stacked, buffers = stack_module_state(modules)

        def call(p: dict[str, Tensor], b: dict[str, Tensor]) -> Tensor:
            return functional_call(modules[0], (p, b), arguments)

        if not stacked and not buffers:
            pytest.skip("has no state to be stacked")
        together = vmap(call, randomness="error")(stacked, buffers)
        apart = torch.stack([module(*arguments) for module in modules])
        torch.testing.assert_close(together, apart, rtol=1e-9, atol=1e-9)

    def test_vmap_of_gradients(self, case: Case) -> None:
        modules = [shaken(case, seed).double() for seed in range(2)]
        arguments = tuple(double(a) for a in case.arguments(seeded(1)))
        stacked, buffers = stack_module_state(modules)
        if not stacked:
            pytest.skip("has no parameters")

        def loss(p: dict[str, Tensor], b: dict[str, Tensor]) -> Tensor:
            return functional_call(modules[0], (p, b), arguments).square().mean()

        together = vmap(torch.func.grad(loss))(stacked, buffers)
        for i, module in enumerate(modules):
            module(*arguments).square().mean().backward()
            for name, parameter in module.named_parameters():
                if parameter.grad is not None:
                    torch.testing.assert_close(together[name][i], parameter.grad, rtol=1e-8, atol=1e-9)


class CompileContract:
    """Compiles in one graph, forward and backward, with the same result (slow)."""

    @pytest.mark.slow
    def test_compiles_in_one_graph(self, case: Case) -> None:
        module, arguments = shaken(case), case.arguments(seeded(1))
        expected = module(*arguments)
        expected.square().sum().backward() if expected.requires_grad else None
        slopes = {name: p.grad for name, p in module.named_parameters()}
        module.zero_grad()
        torch._dynamo.reset()
        compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
        result = compiled(*arguments)
        torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-5)
        if result.requires_grad:
            result.square().sum().backward()
            for name, parameter in module.named_parameters():
                if slopes[name] is not None:
                    torch.testing.assert_close(parameter.grad, slopes[name], rtol=1e-3, atol=1e-4)
