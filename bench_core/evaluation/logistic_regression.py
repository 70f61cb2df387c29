"""Multinomial logistic regression, solved to its optimum; also one logistic regression for each of several labels.

    minimise  mean_i CE(softmax(W^T x_i + b), y_i) + penalty / 2 * |W|^2        (b is free)

scikit-learn's C is 1 / (penalty * N). Published probes on ill-conditioned features often come from a solver that
stopped early; then the solver changes the number more than the method does. Here L-BFGS works in the principal
directions of the features, each scaled to about unit curvature. The penalty still applies to the original weights, so
the problem is the one above, and only the path to its optimum is shorter. Other convex losses of the class scores are
solved in the same way (`sigmoid_loss` for several labels an item, `bench_core.evaluation.linear_svm`).

Shapes: N items, D features, R <= min(N, D) principal directions with variance, K classes.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import scipy  # its submodules take a second to import, so they are loaded at their first use
import torch
import torch.nn.functional as F
from threadpoolctl import threadpool_limits
from torch import Tensor

from bench_core.evaluation.rows import Features, Rows, blocks_of, is_small, keeps, spans

Vector = npt.NDArray[np.float64]
ScoreLoss = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  # scores, one-hot labels (K, N) -> mean, slope (K, N)
TOLERANCE = 2e-4  # largest entry of the gradient, over the loss, in scaled coordinates (curvature about 1)
NEGLIGIBLE = 1e-12  # a loss that counts as optimal, as of items that are all of one class
LEAST_VARIANCE = 1e-10  # part of the largest variance, up to which a direction counts as one without variance
_DEVICE_BLOCK = 2**25  # entries of a block on a GPU: 128 MiB
FLOAT64_LIMIT = 1_000_000  # entries of the features up to which double precision costs almost no time


@dataclass(frozen=True, kw_only=True)
class LogisticFit:
    """Solution of the solver, and how close to the optimum it is.

    Attributes:
        weights: Weights (D, K) float64, on the CPU.
        bias: Bias (K,) float64, on the CPU.
        loss: Value that is minimised, with the penalty, in nats.
        iterations: Number of L-BFGS steps.
        gradient: Largest absolute entry of the gradient in scaled coordinates, over the loss; with several labels an
            item, over its mean over labels.
        converged: True if `gradient` is at most `TOLERANCE`.
    """

    weights: Tensor
    bias: Tensor
    loss: float
    iterations: int
    gradient: float
    converged: bool

    def logits(self, features: Features) -> Tensor:
        """Return class scores (M, K) float64 of features (M, D)."""
        blocks = [block.double().cpu() @ self.weights + self.bias for _, _, block in blocks_of(features)]
        return blocks[0] if len(blocks) == 1 else torch.cat(blocks)


class LogisticProblem:
    """Labelled features, prepared once to be solved for several penalties.

    Args:
        features: Features (N, D). `Rows` are read in blocks, whose sums are added up.
        labels: Classes (N,) int64 in [0, K), or several labels an item, (N, K) bool.
        num_classes: Number of classes or labels K.
        device: CPU or CUDA device, for the products; the vectors of the solver stay on the CPU.
        loss: Convex loss of the class scores; another one than `softmax_loss` is solved in the same way.
        curvature: Rough second derivative of the loss by a score; a bad guess costs steps, and changes no optimum.
            None: 1 / K, that of the softmax.
    """

    def __init__(
        self,
        features: Features,
        labels: Tensor,
        num_classes: int,
        device: torch.device | str = "cpu",
        *,
        loss: ScoreLoss | None = None,
        curvature: float | None = None,
    ) -> None:
        """Centre the features and write them in their principal directions."""
        self.num_classes = num_classes
        self.loss = loss or softmax_loss
        self.flatness = num_classes if curvature is None else 1 / curvature
        device = torch.device(device)
        self.problems = 1 if labels.ndim == 1 else num_classes  # separate ones, whose losses are added up
        if isinstance(features, Rows) and is_small(*features.shape):
            features = features.read(0, len(features))
        if isinstance(features, Rows):
            self.parts: _Parts = _Streamed(features, labels, num_classes, device)
        else:
            self.parts = _Whole(features, labels, num_classes, device)

    def solve(self, penalty: float, max_iterations: int = 1000, start: LogisticFit | None = None) -> LogisticFit:
        """Find the optimum for one penalty.

        Args:
            penalty: Factor of the squared weights, > 0.
            max_iterations: Largest number of L-BFGS steps.
            start: Solution for another penalty to start from; None starts from 0.
        """
        scale = (self.parts.variance.double() / self.flatness + penalty).rsqrt().cpu()[:, None]  # (R, 1)
        basis, mean = self.parts.basis.double().cpu(), self.parts.mean.double().cpu()
        first = torch.zeros(len(scale) + 1, self.num_classes, dtype=torch.float64)
        if start is not None:
            first[:-1] = basis.T @ start.weights / scale
            first[-1] = start.bias + mean @ start.weights

        def objective(flat: Vector) -> tuple[float, Vector]:
            return self._value_and_gradient(flat, scale, penalty)

        with threadpool_limits(1, user_api="blas"):  # threads of SciPy and torch would wait for each other
            result = scipy.optimize.minimize(
                objective,
                first.flatten().numpy(),
                method="L-BFGS-B",
                jac=True,
                callback=self._stop_at_optimum,
                options={
                    "maxiter": max_iterations,
                    "maxfun": 20 * max_iterations,
                    "gtol": 0.0,
                    "ftol": 0.0,
                    "maxcor": 20,
                },
            )
        loss, _ = objective(result.x)
        solution = torch.from_numpy(result.x).view_as(first)
        weights = basis @ (scale * solution[:-1])
        return LogisticFit(
            weights=weights,
            bias=solution[-1] - mean @ weights,
            loss=loss,
            iterations=int(result.nit),
            gradient=self.relative_gradient,
            converged=self.relative_gradient <= TOLERANCE,
        )

    def forget(self) -> None:
        """Free the coordinates that were kept of `Rows`; SciPy may hold this object for a while after `solve`."""
        if isinstance(self.parts, _Streamed):
            self.parts.kept = []

    def _stop_at_optimum(self, xk: Vector) -> None:
        """Stop the solver when the relative gradient is small.

        SciPy's criteria are absolute, and would stop too early on separable data, whose loss is tiny.
        """
        if self.relative_gradient <= TOLERANCE:
            raise StopIteration

    def _value_and_gradient(self, flat: Vector, scale: Tensor, penalty: float) -> tuple[float, Vector]:
        """Return the loss and its gradient at a point of scaled coordinates, flattened to ((R + 1) * K,)."""
        point = torch.from_numpy(flat).view(-1, self.num_classes)
        weights = scale * point[:-1]  # (R, K)
        loss, slope, bias_slope = 0.0, torch.zeros_like(weights), torch.zeros(1, self.num_classes, dtype=torch.float64)
        for x, onehot in self.parts:
            share = len(x) / self.parts.items
            # Arrays are (K, n): with few classes, both products are many times faster than with arrays (n, K).
            scores = torch.addmm(point[-1:].T.to(x), weights.T.to(x), x.T)  # (K, n)
            fit, residual = self.loss(scores, onehot)
            loss += share * float(fit)
            slope += share * (residual @ x).T.double().cpu()
            bias_slope += share * residual.sum(1)[None].double().cpu()
        gradient = torch.cat([scale * (slope + penalty * weights), bias_slope])
        loss += penalty / 2 * float(weights.square().sum())
        # A rare label's gradient is small: with the sum of all losses as measure, its weights would be far from done.
        measure = loss / self.problems
        self.relative_gradient = float(gradient.abs().max()) / measure if measure > NEGLIGIBLE else 0.0
        return loss, gradient.flatten().numpy()


class _Parts(Protocol):
    """Labelled features in their principal directions, in one part or in several.

    Attributes:
        items: Number of items N.
        mean: Mean (D,) of the features, which is taken off: it changes only the biases, which are free.
        basis: Principal directions (D, R).
        variance: Variances (R,) in these directions.
    """

    items: int
    mean: Tensor
    basis: Tensor
    variance: Tensor

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the coordinates (n, R) and the labels (K, n), 0 or 1, of each part."""


class _Whole:
    """All items as one part."""

    def __init__(self, features: Tensor, labels: Tensor, num_classes: int, device: torch.device) -> None:
        """Centre the features and write them in their principal directions."""
        exact = device.type == "cpu" and features.numel() <= FLOAT64_LIMIT
        features = features.to(device, torch.float64 if exact else torch.float32)
        self.items, self.mean = len(features), features.mean(0)
        centred = features - self.mean
        self.basis, self.variance = principal_directions(centred)
        self.coordinates = centred @ self.basis  # (N, R)
        labels = labels.to(device)
        hot = labels if labels.ndim == 2 else F.one_hot(labels, num_classes)
        self.onehot = hot.T.contiguous().to(centred)  # (K, N); several ones in a column of several labels

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the one part."""
        yield self.coordinates, self.onehot


class _Streamed:
    """Items in blocks of one length; coordinates are kept where memory allows it, else computed for each pass."""

    def __init__(self, features: Rows, labels: Tensor, num_classes: int, device: torch.device) -> None:
        """Find the principal directions in two passes over the features."""
        self.features, self.labels, self.num_classes, self.device = features, labels, num_classes, device
        self.entries = None if device.type == "cpu" else _DEVICE_BLOCK
        self.items = len(features)
        self.mean = features.average().to(device, torch.float32)
        gram = sum((block.T @ block).double().cpu() for block in self._centred())
        variance, vectors = torch.linalg.eigh(torch.as_tensor(gram) / self.items)
        kept = variance > variance[-1:] * LEAST_VARIANCE
        self.basis, self.variance = (values.to(self.mean) for values in (vectors[:, kept], variance[kept]))
        free = features.memory
        if device.type == "cuda":
            free = torch.cuda.mem_get_info(device)[0]
        self.keeps, self.kept = keeps(4 * self.items * len(self.variance), free), list[Tensor]()

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield each block."""
        if self.keeps and not self.kept:
            self.kept = self._coordinates_at_once()
        start = 0
        for block in self.kept or (block @ self.basis for block in self._centred()):
            labels = self.labels[start : start + len(block)].to(self.device)
            yield block, self._onehot(labels)
            start += len(block)

    def _coordinates_at_once(self) -> list[Tensor]:
        """Compute the coordinates of all blocks, (n, R) each, in one piece of memory.

        Each block begins at a multiple of 64 bytes, as a tensor of its own does: products may depend on it.
        """
        dims = len(self.variance)
        shapes = [(end - start, dims) for start, end in spans(*self.features.shape, self.entries)]
        step = -(-max(rows * dims for rows, _ in shapes) // 16) * 16
        memory = torch.empty(len(shapes) * step, device=self.device)
        blocks = [memory[i * step :][: rows * dims].view(rows, dims) for i, (rows, _) in enumerate(shapes)]
        for block, centred in zip(blocks, self._centred(), strict=True):
            torch.mm(centred, self.basis, out=block)
        return blocks

    def _centred(self) -> Iterator[Tensor]:
        for block in self.features.blocks(self.entries):
            yield block.to(self.device) - self.mean

    def _onehot(self, labels: Tensor) -> Tensor:
        """Return the labels (K, n) float32, 0 or 1, of classes (n,) or several labels (n, K)."""
        if labels.ndim == 2:
            return labels.T.float()
        hot = torch.zeros(self.num_classes, len(labels), device=labels.device)
        return hot.scatter_(0, labels[None], 1.0)


def softmax_loss(scores: Tensor, onehot: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean cross-entropy of the softmax, in nats, and its slope (K, N) by each score.

    Args:
        scores: Class scores (K, N).
        onehot: Labels (K, N), 0 or 1.
    """
    logp = scores.log_softmax(0)
    fit = -(logp * onehot).sum(0).double().mean()
    return fit, logp.exp().sub_(onehot).div_(scores.shape[1])


def sigmoid_loss(scores: Tensor, hot: Tensor) -> tuple[Tensor, Tensor]:
    """Return the cross-entropy of a logistic regression of each label, in nats, and its slope (K, N) by each score.

    It is summed over labels and a mean over items. The labels share nothing, so their sum has the optimum of each.

    Args:
        scores: Scores of the labels (K, N).
        hot: Labels (K, N), 0 or 1.
    """
    fit = F.softplus(scores * (1 - 2 * hot)).sum(0).double().mean()
    return fit, scores.sigmoid().sub_(hot).div_(scores.shape[1])


def principal_directions(centred: Tensor) -> tuple[Tensor, Tensor]:
    """Return the principal directions (D, R) of centred features and their variances (R,).

    Directions without variance are left out. The optimal weights have no component in them, so nothing is lost.
    """
    n, dim = centred.shape
    wide = n < dim
    rows = centred.double() if wide else centred  # the division by small variances below needs the precision
    gram = (rows @ rows.T if wide else rows.T @ rows).double().cpu() / n
    variance, vectors = torch.linalg.eigh(gram)
    kept = variance > variance[-1:] * LEAST_VARIANCE
    variance, vectors = variance[kept], vectors[:, kept]
    if wide:
        vectors = rows.T.cpu() @ vectors / (variance * n).sqrt()
    return vectors.to(centred), variance.to(centred)
