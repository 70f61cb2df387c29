"""Multinomial logistic regression, solved to its optimum.

    minimise  mean_i CE(softmax(W^T x_i + b), y_i) + penalty / 2 * |W|^2        (b is free)

In scikit-learn's terms `penalty` is 1 / (C * N). Probes on ill-conditioned features are often reported from a solver
that stopped early, and the solver then moves the number more than the method does. Here L-BFGS works in
the features' principal directions, each scaled to about unit curvature; the penalty stays on the original
weights, so the problem is the one above and only the path to its optimum is shorter.

Shapes: N items, D features, R <= min(N, D) directions with variance, K classes.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy  # its parts cost a second: they load where they are used
import torch
import torch.nn.functional as F
from threadpoolctl import threadpool_limits
from torch import Tensor

Vector = npt.NDArray[np.float64]
TOLERANCE = 2e-4  # of the largest entry of the gradient against the loss, in scaled coordinates (curvature about 1)
FLOAT64_LIMIT = 1_000_000  # entries of the features up to which double precision costs next to nothing


@dataclass(frozen=True, kw_only=True)
class LogisticFit:
    """Where the solver stopped.

    Attributes:
        weights: (D, K) float64, on the CPU.
        bias: (K,) float64, on the CPU.
        loss: The objective at that point, with the penalty, in nats.
        iterations: L-BFGS steps.
        gradient: Largest absolute entry of the gradient in scaled coordinates, over the loss.
        converged: Whether `gradient` is at most `TOLERANCE`.
    """

    weights: Tensor
    bias: Tensor
    loss: float
    iterations: int
    gradient: float
    converged: bool

    def logits(self, features: Tensor) -> Tensor:
        """Scores (M, K), float64, of features (M, D)."""
        return features.double().cpu() @ self.weights + self.bias


class LogisticProblem:
    """One set of labelled features, prepared once and solved for any number of penalties.

    Args:
        features: (N, D) floats.
        labels: (N,) int64 in [0, K).
        num_classes: K.
        device: CPU or CUDA, where the products are computed; the solver's own vectors stay on the CPU.
    """

    def __init__(self, features: Tensor, labels: Tensor, num_classes: int, device: torch.device | str = "cpu") -> None:
        """Centre, find the principal directions and turn the features into them."""
        self.num_classes = num_classes
        device = torch.device(device)
        exact = device.type == "cpu" and features.numel() <= FLOAT64_LIMIT
        features = features.to(device, torch.float64 if exact else torch.float32)
        self.mean = features.mean(0)
        centred = features - self.mean  # changes b alone, which is free
        self.basis, self.variance = principal_directions(centred)
        self.coordinates = centred @ self.basis  # (N, R)
        self.onehot = F.one_hot(labels.to(device), num_classes).T.contiguous().to(centred)  # (K, N)

    def solve(self, penalty: float, max_iterations: int = 1000, start: LogisticFit | None = None) -> LogisticFit:
        """The optimum for one penalty.

        Args:
            penalty: On the squared weights, > 0.
            max_iterations: L-BFGS steps at most.
            start: A solution for another penalty, to begin from.
        """
        scale = (self.variance.double() / self.num_classes + penalty).rsqrt().cpu()[:, None]  # (R, 1)
        basis, mean = self.basis.double().cpu(), self.mean.double().cpu()
        first = torch.zeros(len(scale) + 1, self.num_classes, dtype=torch.float64)
        if start is not None:
            first[:-1] = basis.T @ start.weights / scale
            first[-1] = start.bias + mean @ start.weights

        def objective(flat: Vector) -> tuple[float, Vector]:
            return self._value_and_gradient(flat, scale, penalty)

        with threadpool_limits(1, user_api="blas"):  # SciPy's threads and torch's would wait for each other
            found = scipy.optimize.minimize(
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
        loss, _ = objective(found.x)
        solution = torch.from_numpy(found.x).view_as(first)
        weights = basis @ (scale * solution[:-1])
        return LogisticFit(
            weights=weights,
            bias=solution[-1] - mean @ weights,
            loss=loss,
            iterations=int(found.nit),
            gradient=self.relative_gradient,
            converged=self.relative_gradient <= TOLERANCE,
        )

    def _stop_at_optimum(self, xk: Vector) -> None:
        """SciPy's own criteria are absolute, and the loss of separable data is as small as the penalty lets it be."""
        if self.relative_gradient <= TOLERANCE:
            raise StopIteration

    def _value_and_gradient(self, flat: Vector, scale: Tensor, penalty: float) -> tuple[float, Vector]:
        """The objective and its gradient at scaled coordinates, flat ((R + 1) * K,)."""
        point = torch.from_numpy(flat).view(-1, self.num_classes)
        weights = scale * point[:-1]  # (R, K)
        x = self.coordinates
        # Class-major throughout: for few classes these two products are many times faster so than item-major.
        logp = torch.addmm(point[-1:].T.to(x), weights.T.to(x), x.T).log_softmax(0)  # (K, N)
        fit = -(logp * self.onehot).sum(0).double().mean()
        residual = logp.exp().sub_(self.onehot).div_(len(x))
        slope = (residual @ x).T.double().cpu() + penalty * weights
        gradient = torch.cat([scale * slope, residual.sum(1)[None].double().cpu()])
        loss = float(fit) + penalty / 2 * float(weights.square().sum())
        self.relative_gradient = float(gradient.abs().max()) / loss
        return loss, gradient.flatten().numpy()


def principal_directions(centred: Tensor) -> tuple[Tensor, Tensor]:
    """Principal directions (D, R) with their variances (R,), those without variance left out.

    The optimal weights have no part in a direction without variance, so nothing is lost.
    """
    n, dim = centred.shape
    wide = n < dim
    rows = centred.double() if wide else centred  # division by small variances below wants the precision
    gram = (rows @ rows.T if wide else rows.T @ rows).double().cpu() / n
    variance, vectors = torch.linalg.eigh(gram)
    kept = variance > variance[-1:] * 1e-10
    variance, vectors = variance[kept], vectors[:, kept]
    if wide:
        vectors = rows.T.cpu() @ vectors / (variance * n).sqrt()
    return vectors.to(centred), variance.to(centred)
