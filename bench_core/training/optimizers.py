"""Optimisers and learning rates, as the papers use them."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from bench_core.contracts import Recipe


class LARS(Optimizer):
    """Layer-wise adaptive rate scaling around SGD with momentum.

    Paper: You, Gitman, Ginsburg 2017, https://arxiv.org/abs/1708.03888, with the momentum of the SimCLR code
    (google-research/simclr, lars_optimizer.py): the velocity includes the adapted rate.
    The trust ratio is 1 where the norm of the weight or of its gradient is 0, so that a weight of zeros can move.

    Args:
        groups: Parameter groups. `adapt=False` in a group (bias, norm) makes it plain SGD with momentum.
        lr: Learning rate.
        momentum: Decay of the velocity, in [0, 1).
        weight_decay: Factor of the weight that is added to the gradient before the gradient's norm is computed.
        trust: The paper's eta: a weight moves by at most `lr * trust` of its norm in a step.
        cap: As in solo-learn (9187ea3, solo/utils/lars.py, `clip_lr`): the rate of a weight is trust * |w| / |g|, at
            most `lr`, instead of `lr` times that. With a large trust this is SGD for all but the smallest weights.
    """

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust: float = 1e-3,
        cap: bool = False,
    ) -> None:
        """Check and keep the groups."""
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "trust": trust, "adapt": True}
        defaults["cap"] = cap
        super().__init__(groups, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]  # no closure
        """Move every parameter that has a gradient.

        A group's `lr` may be a tensor on the device, so that it can change between replays of a CUDA graph.
        """
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if not weights:
                continue
            rate, grads = group["lr"], [weight.grad for weight in weights]
            updates = torch._foreach_add(grads, weights, alpha=group["weight_decay"])
            if group["adapt"]:
                ratios = _trust_ratios(weights, updates, group["trust"])
                if group["cap"]:
                    positive_rate = rate.clamp_min(1e-12) if isinstance(rate, Tensor) else max(rate, 1e-12)
                    ratios = (ratios / positive_rate).clamp_max(1.0)
                torch._foreach_mul_(updates, ratios.unbind())
            if isinstance(rate, Tensor):
                torch._foreach_mul_(updates, rate)
            velocities = [self._velocity(weight) for weight in weights]
            torch._foreach_mul_(velocities, group["momentum"])
            torch._foreach_add_(velocities, updates, alpha=1.0 if isinstance(rate, Tensor) else rate)
            torch._foreach_sub_(weights, velocities)

    def _velocity(self, weight: Tensor) -> Tensor:
        state = self.state[weight]
        if "velocity" not in state:
            state["velocity"] = torch.zeros_like(weight)
        velocity: Tensor = state["velocity"]
        return velocity


def _trust_ratios(weights: list[Tensor], updates: tuple[Tensor, ...] | list[Tensor], trust: float) -> Tensor:
    """Return trust * |w| / |g| of each weight, 1 where either norm is 0; does not wait for the device."""
    weight_norms, update_norms = (torch.stack(torch._foreach_norm(tensors)) for tensors in (weights, updates))
    ratios = trust * weight_norms / update_norms.clamp_min(torch.finfo(update_norms.dtype).tiny)
    return torch.where((weight_norms > 0) & (update_norms > 0), ratios, torch.ones_like(ratios))


def make_optimizer(parameters: Sequence[nn.Parameter], recipe: Recipe) -> Optimizer:
    """Build the recipe's optimiser over two groups: weights, and parameters of one dimension (bias, norm).

    The second group is not decayed, and LARS does not adapt its rate. SimCLR, BYOL and Barlow Twins do the same; some
    reference code (SeLa, NAC) decays all parameters. Here one rule holds for all methods.
    """
    trained = [p for p in parameters if p.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    rate = recipe.learning_rate
    if recipe.optimizer == "lars":
        groups[1]["adapt"] = False
        return LARS(groups, rate, recipe.momentum, trust=recipe.trust, cap=recipe.trust_cap)
    groups = [group for group in groups if group["params"]]
    if recipe.optimizer == "sgd":
        return SGD(groups, lr=rate, momentum=recipe.momentum, nesterov=recipe.nesterov)
    betas = (recipe.momentum, 0.999)
    if recipe.optimizer == "adam":
        return Adam(groups, lr=rate, betas=betas)
    return AdamW(groups, lr=rate, betas=betas)


def rate_factor(recipe: Recipe, step: int, num_steps: int, steps_per_epoch: int) -> float:
    """Return the factor of the peak learning rate at a step, in [0, 1].

    It rises linearly from 0 during warm-up and then follows the schedule over the remaining steps. The milestones of
    the schedule "steps" are fractions of the whole training, warm-up included. In a training of several stages each
    stage counts as a training of its own.

    Args:
        recipe: Its `warmup_epochs`, `schedule` and `milestones`.
        step: Steps done before this one.
        num_steps: Steps of the whole training.
        steps_per_epoch: Steps of an epoch.
    """
    warmup = min(round(recipe.warmup_epochs * steps_per_epoch), num_steps)
    if step < warmup:
        return (step + 1) / warmup
    if recipe.schedule == "constant":
        return 1.0
    if recipe.schedule == "steps":
        passed: int = sum(step >= milestone * num_steps for milestone in recipe.milestones)
        return float(0.1**passed)
    if recipe.schedule == "linear":
        return 1 - (step - warmup) / max(1, num_steps - warmup)
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, num_steps - warmup)))
