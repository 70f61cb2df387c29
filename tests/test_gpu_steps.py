"""Training steps on a GPU, checked without one: fake tensors show which operations would wait for the device."""

import copy
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import bench_core.training.pretrain as loop
from bench_core import Batch, DataSpec, EpochContext, Objective, Recipe
from bench_core.config import build
from bench_core.conformance.examples import examples_of
from bench_core.conformance.toys import NUM_CLASSES, TinyEncoder, factors_of, images_of, spec_for, split_of
from bench_core.contracts.keywords import named_only, needs
from bench_core.data.loading import Resident
from bench_core.plugins import Component, load_plugins
from bench_core.training.optimizers import make_optimizer

CUDA = torch.device("cuda", 0)
REGISTRY = load_plugins()


def reads_toy_images(component: Component) -> bool:
    """Tell whether a method is trained on the tiny encoder of images without a teacher; others wait as these do."""
    if needs(component.cls.__init__, "teacher"):
        return False
    return any(example.encoder is TinyEncoder for example in examples_of(component, REGISTRY))


BATCH = 8
CHECKS_ON_THE_HOST = {"_linalg_check_errors", "_linalg_eigh", "_linalg_svd", "linalg_eig", "linalg_lstsq"}
METHODS: dict[str, Any] = {
    component.name: component.cls
    for component in REGISTRY.of_kind("objective")
    if component.distribution == "bench-core" and component.cls.recipe.epochs and reads_toy_images(component)
}
VARIANTS = [  # that change a switch or a name; a variant that changes numbers only runs the same code
    (method, name)
    for method, cls in METHODS.items()
    for name, variant in cls.variants.items()
    if any(isinstance(value, bool | str) for value in variant.config.values())
]


class SynchronisationRecorder(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's is untyped
    """Records operations in which the host would wait for the device.

    These are copies between host and device (also of numbers: `torch.tensor(..., device=)`), error checks of
    factorisations, and writing through a mask. Where a shape depends on values, fake tensors raise an error.

    Attributes:
        operations: Names of the recorded operations, in order.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations = list[str]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        devices = {t.device.type for t in tree_leaves((args, kwargs, result)) if isinstance(t, Tensor)}
        name = func.overloadpacket.__name__
        masks = name.startswith("index_put") and any(i is not None and i.dtype == torch.bool for i in args[1])
        if len(devices) > 1 or masks or name in CHECKS_ON_THE_HOST:
            self.operations.append(name)
        return result


class FakeGenerator(torch.Generator):
    """A generator on the CPU whose `device` is the fake CUDA device."""

    @property
    def device(self) -> torch.device:  # type: ignore[override]  # torch's stubs say it could be set
        return CUDA


def to_fake_device(objective: Objective) -> Objective:
    """Replace parameters and buffers by fake tensors on CUDA, which `to(device)` cannot do."""
    moved: dict[int, Tensor] = {}

    def fake(tensor: Tensor) -> Tensor:
        if id(tensor) not in moved:
            on_cuda = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=CUDA)
            if isinstance(tensor, nn.Parameter):
                on_cuda = nn.Parameter(on_cuda, requires_grad=tensor.requires_grad)
            moved[id(tensor)] = on_cuda
        return moved[id(tensor)]

    for module in objective.modules():
        for tensors in (module._parameters, module._buffers):
            tensors.update({name: fake(tensor) for name, tensor in tensors.items() if tensor is not None})  # type: ignore[misc]  # a Parameter of a Parameter
    return objective


def fake_backward(loss: Tensor, inputs: list[Tensor]) -> None:
    """Replace `torch.autograd.backward`, which needs streams of a driver."""
    assert loss.requires_grad
    for parameter in inputs:
        parameter.grad = torch.empty_like(parameter)


@pytest.fixture
def on_fake_cuda(monkeypatch: pytest.MonkeyPatch, fake_cuda: None) -> None:
    """Replace in the training loop what needs a driver, and the end of an epoch, where the host may wait."""
    monkeypatch.setattr(
        loop, "stream", lambda *names, device="cpu": torch.Generator() if device == "cpu" else FakeGenerator()
    )
    monkeypatch.setattr(loop, "_cuda_indices", lambda device: [])
    monkeypatch.setattr(loop, "reset_peak_memory", lambda device: None)
    monkeypatch.setattr(loop, "peak_memory_gib", lambda device: None)
    monkeypatch.setattr(loop, "epoch_line", lambda stacked, step: {})
    monkeypatch.setattr("torch.cuda.amp.common.amp_definitely_not_available", lambda: False)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda *_, **__: True)
    monkeypatch.setattr(
        "bench_methods.sela.objective.is_due", lambda *_: False
    )  # a relabelling passes over the whole split and may wait
    monkeypatch.setattr(torch.autograd, "backward", fake_backward)
    monkeypatch.setattr(torch.autograd, "grad", lambda outputs, inputs, **_: [tensor.clone() for tensor in inputs])


def objective_of(cls: Any, variant: str = "") -> tuple[Objective, Any]:
    """Build a method with a tiny encoder on the CPU; return it with the data that it is built for."""
    settings = cls.variants[variant].config if variant else {}
    spec = replace(spec_for(cls), splits={"train": 2 * BATCH, "test": BATCH})
    offered = named_only(cls.__init__, new_encoder=TinyEncoder)
    return cls(TinyEncoder(spec), spec, build(cls.Config, settings, variant), **offered), spec


def synchronisations_of_training(objective: Objective, source: Any, recipe: Recipe) -> list[str]:
    """Return the operations that wait in two steps of the loop, without full passes over the data."""
    no_passes = mock.patch.multiple(type(objective), before_epoch=lambda *_: {}, after_training=lambda *_: {})
    with tempfile.TemporaryDirectory() as folder, no_passes, SynchronisationRecorder() as recorder:
        log = Path(folder) / "log.jsonl"
        result = loop.pretrain(objective, source, recipe, seed=0, device=CUDA, precision="bf16", log=log)
    assert result["steps"] == 2
    operations: list[str] = recorder.operations
    return operations


@pytest.mark.parametrize(("method", "variant"), [*((method, "") for method in METHODS), *VARIANTS])
def test_training_step_never_waits_for_the_device(method: str, variant: str, on_fake_cuda: None) -> None:
    cls = METHODS[method]
    objective, spec = objective_of(cls, variant)
    recipe = build(Recipe, cls.variants[variant].recipe if variant else {}, method, base=cls.recipe)
    recipe = replace(recipe, epochs=1, batch_size=BATCH)
    with FakeTensorMode():
        operations = synchronisations_of_training(to_fake_device(objective), Resident(split_of(spec), CUDA), recipe)
    assert operations == ["_to_copy"]  # copy of the order of the epoch, once for all its steps


@pytest.mark.usefixtures("fake_cuda")
@pytest.mark.parametrize("rule", ["lars", "adam", "adamw"])
def test_optimiser_with_its_rate_on_the_device_never_waits(rule: Any) -> None:
    """A step that is captured in a CUDA graph needs this; torch's own SGD reads such a rate on the host."""
    with FakeTensorMode(), SynchronisationRecorder() as recorder:
        parameters = [nn.Parameter(torch.ones(4, 3, device=CUDA)), nn.Parameter(torch.ones(4, device=CUDA))]
        optimizer = make_optimizer(parameters, Recipe(optimizer=rule, weight_decay=0.1, trust_cap=True))
        for group in optimizer.param_groups:
            group["lr"] = torch.full((), 0.1, device=CUDA)
            group |= {"capturable": True} if "capturable" in group else {}
        for parameter in parameters:
            parameter.grad = torch.ones_like(parameter)
        for _ in range(2):
            optimizer.step()
    assert recorder.operations == []


WAITING_OPERATIONS = {
    "a number read back": lambda x: x.sum().item(),
    "a tensor as a condition": lambda x: bool((x > 0).any()),
    "a mask that selects": lambda x: x[x > 0],
    "a mask that is written through": lambda x: x.index_put_([x > 0], x[0]),
    "a size that depends on values": lambda x: x.nonzero(),
    "numbers put on the device": lambda x: torch.tensor([1.0, 2.0], device=x.device),
    "an index on the host": lambda x: x[torch.arange(2)],
    "a check of a factorisation": lambda x: torch.linalg.cholesky(x),
    "a copy to the host": lambda x: x.cpu(),
}


@pytest.mark.usefixtures("fake_cuda")
@pytest.mark.parametrize("name", WAITING_OPERATIONS)
def test_operation_that_waits_is_recorded(name: str) -> None:
    with FakeTensorMode(), SynchronisationRecorder() as recorder:
        x = torch.ones(4, 4, device=CUDA)
        assert recorder.operations == []
        try:
            WAITING_OPERATIONS[name](x)  # type: ignore[no-untyped-call]
        except (DataDependentOutputException, DynamicOutputShapeException):
            return
    assert len(recorder.operations) == 1


def batch_of(objective: Objective, spec: DataSpec) -> Batch:
    labels = torch.arange(BATCH) % NUM_CLASSES if objective.uses_labels else None
    factors = factors_of(BATCH) if objective.uses_factors else None
    return Batch(images_of(spec, BATCH), torch.arange(BATCH), labels, factors)


@pytest.mark.parametrize("method", METHODS)
def test_shapes_in_a_gradient_do_not_depend_on_values(method: str) -> None:
    objective, spec = objective_of(METHODS[method])
    views = objective.make_views(batch_of(objective, spec), torch.Generator())  # views may read values on a CPU
    with FakeTensorMode(allow_non_fake_inputs=True), SynchronisationRecorder() as recorder:
        for player in objective.players():
            torch.autograd.backward(objective(views, player.name).total, inputs=list(player.parameters))
    assert recorder.operations == []


BROKEN_GRAPHS = {
    "moco",
    "vicreg",
}  # in torch 2.6, at a context manager and a named tuple; training compiles all the same


@pytest.mark.parametrize("method", METHODS)
def test_loss_of_a_method_compiles_to_one_graph(method: str) -> None:
    if torch.__version__ < "2.10" and method in BROKEN_GRAPHS:
        pytest.skip("before torch 2.10 the loss compiles to several graphs")
    objective, spec = objective_of(METHODS[method])
    views, player = objective.make_views(batch_of(objective, spec), torch.Generator()), objective.players()[0].name
    expected = copy.deepcopy(objective)(views, player).total
    torch.compiler.reset()
    compiled = torch.compile(objective, fullgraph=True, backend="eager")(views, player)
    assert torch.allclose(compiled.total, expected, rtol=1e-4)


@pytest.mark.skipif(torch.__version__ < "2.10", reason="torch 2.6 refuses it in other words")
def test_gradient_penalty_of_dim_cannot_be_compiled() -> None:
    """If this fails, torch has learned to compile a gradient within a loss, and `dim` can be compiled as a whole."""
    objective, spec = objective_of(METHODS["dim"])
    views = objective.make_views(batch_of(objective, spec), torch.Generator())
    torch.compiler.reset()
    with pytest.raises(torch._dynamo.exc.Unsupported, match=r"autograd\.grad"):
        torch.compile(objective, fullgraph=True, backend="eager")(views, "prior")


# Numbers that `before_step` sets in Python: a captured step would always use the value from its capture. BYOL's
# momentum rises, as MoCo's does in `v2plus`; SwAV thaws its prototypes and starts its queue, each with a new graph.
CHANGED_IN_PYTHON = {"byol": {".momentum"}, "swav": {"._step"}}


@pytest.mark.parametrize("method", METHODS)
def test_step_changes_tensors_and_no_attribute_in_python(method: str) -> None:
    objective, spec = objective_of(METHODS[method])
    optimizers = [make_optimizer(player.parameters, Recipe()) for player in objective.players()]

    def step(number: int) -> dict[str, Any]:
        objective.before_step(EpochContext(0, 1, number, 10, lambda: iter([]), torch.Generator()))
        views = objective.make_views(batch_of(objective, spec), torch.Generator().manual_seed(number))
        for player, optimizer in zip(objective.players(), optimizers, strict=True):
            optimizer.zero_grad()
            torch.autograd.backward(objective(views, player.name).total, inputs=list(player.parameters))
            optimizer.step()
        objective.after_step()
        return {
            f"{path}.{name}": copy.copy(value)
            for path, module in objective.named_modules()
            for name, value in vars(module).items()
            if isinstance(value, int | float | str | list | tuple)
        }

    first, second = step(1), step(2)
    assert {name for name in first if first[name] != second[name]} == CHANGED_IN_PYTHON.get(method, set())
