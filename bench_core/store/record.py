"""A record as the code reads it: frozen objects, built once from the JSON object of its file.

Record       one finished cell
Document     what defines its numbers; its hash is the key
RecordScore  one number
Cost         seconds, speed and memory
Provenance   code, machine and command

Records of older code lack some fields: these are None, or empty.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# Task -> family, and whether it ranks, for records that were written before tasks said so themselves.
_BEFORE_FAMILIES = {
    **{f"bench-core/{task}": ("classification", True) for task in ("linear", "knn", "layers", "fewshot", "finetune")},
    "bench-core/transfer": ("classification", True),
    **{f"bench-core/{task}": ("retrieval", True) for task in ("retrieval", "hashing")},
    **{f"bench-core/{task}": ("structure", True) for task in ("clustering", "mi", "disentanglement")},
    **{f"bench-core/{task}": ("generation", True) for task in ("generation", "likelihood")},
    "bench-core/outliers": ("outliers", True),
    **{
        f"bench-core/{task}": ("", False)
        for task in ("linear_regions", "distribution", "geometry", "search_cost", "projection")
    },
}

Memos = tuple[dict[Any, Any], dict[Any, Any]]

AXES = ("dataset", "encoder", "method", "task")  # names of a cell, in the order in which people read them


def cell_label(names: Mapping[str, str]) -> str:
    """Return the names of a cell for messages: "digits/convnet/nac/knn", of a fold with " fold 3 of 10" behind."""
    fold = f" fold {names['fold']}" if "fold" in names else ""
    return "/".join(names[axis] for axis in AXES) + fold


@dataclass(frozen=True)
class Document:
    """All that defines the numbers of a cell; the hash of its content is the cell's key.

    Attributes:
        content: {"protocol", "task", "embed": {"protocol", "pretrain": {"dataset", "encoder", "method", "recipe",
            "precision", "seed"}}}; "others" names further datasets that the task reads, "init" what the encoder
            starts from, "teacher" what the method learns from.
        memos: Two dictionaries, which documents share that have the same task and embedding (the first one), or the
            same training but for the seed (the second one): what is computed of one is kept there for the others. None
            where nobody knows which ones do.
    """

    content: Mapping[str, Any]
    memos: Memos | None = field(default=None, compare=False, repr=False)

    @property
    def embed(self) -> Mapping[str, Any]:
        """The part that defines the embeddings; its hash names their folder."""
        embed: Mapping[str, Any] = self.content["embed"]
        return embed

    @property
    def pretrain(self) -> Mapping[str, Any]:
        """The part that defines the training; its hash is the key of the chain."""
        pretrain: Mapping[str, Any] = self.content["embed"]["pretrain"]
        return pretrain

    @property
    def seed(self) -> int:
        """The seed of the chain."""
        return int(self.pretrain["seed"])

    @property
    def recipe(self) -> Mapping[str, Any]:
        """Values of the training recipe; empty in records of older code."""
        return self.pretrain.get("recipe") or {}

    @property
    def held_out(self) -> float:
        """The part of the train split that was held out and scored in place of the test split; 0 is none."""
        return float((self.pretrain["dataset"].get("held_out") or {}).get("fraction", 0))

    def component(self, axis: str) -> Mapping[str, Any]:
        """Return id, revision and parameters of the dataset, encoder, method or task."""
        component: Mapping[str, Any] = self.content["task"] if axis == "task" else self.pretrain[axis]
        return component


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordScore:
    """One number of a record; what it means is described in `bench_core.Score`.

    Attributes:
        metric: Its name.
        value: None where it was not measured; NaN and infinity count as failed.
        unit: "fraction" is shown as per cent.
        higher_is_better: The direction; None has no better.
        chance: Value of a constant or random embedding.
        embedding: Name of the embedding that was read.
        n: Number of items that the value is a mean over.
        best: The best value possible.
        ranks: False if tables show the value and do not rank it.
        caveat: What a reader must know of this value; empty for most.
    """

    metric: str
    value: float | None
    unit: str
    higher_is_better: bool | None
    chance: float | None = None
    embedding: str | None = None
    n: int | None = None
    best: float | None = None
    ranks: bool = True
    caveat: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """Cost of a cell.

    Attributes:
        pretrain_s: Seconds of the training, which all cells of a chain share.
        embed_s: Seconds of embedding the dataset, which all cells of a chain share.
        task_s: Seconds of the task.
        images_per_s: Training speed.
        peak_memory_gib: Memory of the training, in GiB.
    """

    pretrain_s: float | None = None
    embed_s: float | None = None
    task_s: float | None = None
    images_per_s: float | None = None
    peak_memory_gib: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Provenance:
    """Code, machine and command that made a record.

    Attributes:
        precision: "fp32" or "bf16".
        device: Name of the processor.
        threads: Threads of the CPU that torch used.
        bench: Version of bench-core.
        commit: Commit of the checkout that the code ran from; None from a wheel.
        dirty: Whether that checkout had changes, or no commit at all; None from a wheel.
        torch: Version of torch.
        started: Time at which the task began, ISO 8601.
        ended: Time at which it ended.
        command: The command line.
        sources: Axis -> digest of the code of dataset, encoder, method or task, see
            `bench_core.planning.source_code`; of a training those that trained last.
        embed_sources: Those of the code that made the embeddings.
        earlier_sources: Of a training that was resumed, other code that has trained before.
        start_sources: Of a training that starts from other trainings, their code, in the order in which they were done.
        resumed: How often the training was stopped and resumed.
        ranks: Number of processes that trained together, those that trained last.
        pretrain: The same of the training, which another machine may have done.
    """

    precision: str | None = None
    device: str | None = None
    threads: int | None = None
    bench: str | None = None
    commit: str | None = None
    dirty: bool | None = None
    torch: str | None = None
    started: str | None = None
    ended: str | None = None
    command: str | None = None
    sources: Mapping[str, str] = field(default_factory=dict)
    embed_sources: Mapping[str, str] = field(default_factory=dict)
    earlier_sources: tuple[Mapping[str, str], ...] = ()
    start_sources: tuple[Mapping[str, str], ...] = ()
    resumed: int = 0
    ranks: int = 1
    pretrain: "Provenance | None" = None

    @property
    def all_sources(self) -> "list[Mapping[str, str]]":
        """All code that took part, also in the embedding and in the training, which others may have done."""
        of_training = self.pretrain.all_sources if self.pretrain else []
        return [self.sources, self.embed_sources, *self.earlier_sources, *of_training]


@dataclass(frozen=True, kw_only=True)
class Record:
    """One finished cell: a task on a chain.

    Attributes:
        key: Hash of the document.
        document: All that defines the numbers.
        names: Axis -> the name that the dataset, encoder, method or task had in the request.
        scores: Metric -> score, in the order of the file; the first one ranks.
        ranks: Whether the first score measures quality; if not, it enters no mean rank.
        family: Name of what the task measures, as other tasks do; the task's own id where it names no family.
        protocol: How the task measures, in one line.
        notes: Remarks of the task for readers.
        uses_labels: Whether labels took part in training.
        parameters: Number of parameters of the method.
        uses_factors: Whether ground-truth factors took part in training.
        transductive: Whether training read the items that are tested, without their labels.
        starts_from: Name of what the encoder started from; empty for a fresh one.
        taught_by: Name of the teacher; empty where there is none.
        kept_epoch: Epoch whose weights were kept for their training loss; None where the last ones were.
        recipe_from: What decided the recipe of the training: "board digits; --epochs"; empty where that is not known.
        outside: Of weights that were trained elsewhere: name, digest, trained_on, revision, source, one_network (one
            network is the whole row). None where there are none.
        shortened: What was shorter because fewer epochs were asked for; empty where nothing was.
        cost: Seconds, speed and memory.
        provenance: Code, machine and command.
        stored: The JSON object of the file, without its seal; written again as it is. Of a record that an index knows,
            its file is read where a part is asked for.
    """

    key: str
    document: Document
    names: Mapping[str, str]
    scores: Mapping[str, RecordScore]
    ranks: bool
    family: str
    protocol: str
    notes: tuple[str, ...]
    uses_labels: bool | None
    uses_factors: bool
    transductive: bool
    parameters: int | None
    starts_from: str
    taught_by: str
    kept_epoch: int | None
    recipe_from: str
    shortened: str
    outside: Mapping[str, Any] | None
    cost: Cost
    provenance: Provenance
    stored: Mapping[str, Any] = field(repr=False)

    @property
    def seed(self) -> int:
        """The seed of the chain."""
        return self.document.seed

    @property
    def own_encoder(self) -> str:
        """The encoder that the row has in place of the table's; empty where it has the table's."""
        return self.names.get("own_encoder", "")

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of dataset, encoder, method and task."""
        return tuple(self.names[axis] for axis in AXES)

    @property
    def label(self) -> str:
        """The cell as messages name it: "digits/convnet/nac/knn seed 0"; of a fold "... fold 3 of 10 seed 0"."""
        return f"{cell_label(self.names)} seed {self.seed}"

    @property
    def curves(self) -> Mapping[str, Mapping[str, list[float]]]:
        """Name -> columns of a curve, x first."""
        return self.stored.get("curves") or {}

    @property
    def images(self) -> Mapping[str, str]:
        """Name -> grid of images as PNG in base64, see `bench_core.store.image_grid`."""
        return self.stored.get("images") or {}

    @property
    def items(self) -> Mapping[str, Mapping[str, Any]]:
        """Metric -> packed per-item results, see `bench_core.store.per_item`."""
        return self.stored.get("items") or {}


def record_from_json(
    stored: Mapping[str, Any], *, memos: Memos | None = None, whole: Mapping[str, Any] | None = None
) -> Record:
    """Build a record from the JSON object of its file, in which `record_error` found no fault.

    Args:
        stored: The object; with `whole`, the parts that are in fields of the record are enough.
        memos: As in `Document`.
        whole: What `Record.stored` becomes; by default `stored`.
    """
    facts, cost, provenance = (stored.get(part) or {} for part in ("facts", "cost", "provenance"))
    pretrain = provenance.get("pretrain")
    task_id = stored["doc"]["task"]["id"]
    old_family, old_ranks = _BEFORE_FAMILIES.get(task_id, ("", True))
    ranks, family = stored.get("ranks"), stored.get("family")
    return Record(
        key=stored["key"],
        document=Document(stored["doc"], memos),
        names=stored["names"],
        scores={score["metric"]: _score(score) for score in stored["scores"]},
        ranks=old_ranks if ranks is None else ranks,
        family=(old_family if family is None else family) or task_id,
        protocol=stored.get("protocol") or "",
        notes=tuple(stored.get("notes") or ()),
        uses_labels=facts.get("uses_labels"),
        uses_factors=facts.get("uses_factors") is True,
        transductive=facts.get("transductive") is True,
        parameters=facts.get("parameters"),
        starts_from=facts.get("starts_from") or "",
        taught_by=facts.get("taught_by") or "",
        kept_epoch=facts.get("kept_epoch"),
        recipe_from=facts.get("recipe_from") or "",
        shortened=facts.get("shortened") or "",
        outside=facts.get("outside"),
        cost=Cost(
            pretrain_s=cost.get("pretrain_s"),
            embed_s=cost.get("embed_s"),
            task_s=cost.get("task_s"),
            images_per_s=cost.get("images_per_s"),
            peak_memory_gib=cost.get("peak_memory_gib"),
        ),
        provenance=provenance_from_json(provenance, None if pretrain is None else provenance_from_json(pretrain)),
        stored=stored if whole is None else whole,
    )


def _score(score: Mapping[str, Any]) -> RecordScore:
    return RecordScore(
        metric=score["metric"],
        value=score["value"],
        unit=score["unit"],
        higher_is_better=score["higher_is_better"],
        chance=score.get("chance"),
        embedding=score.get("embedding"),
        n=score.get("n"),
        best=score.get("best"),
        ranks=score.get("ranks") is not False,
        caveat=score.get("caveat") or "",
    )


def provenance_from_json(provenance: Mapping[str, Any], pretrain: Provenance | None = None) -> Provenance:
    """Build a provenance from the JSON object of a record, or of a training in its summary."""
    return Provenance(
        precision=provenance.get("precision"),
        device=provenance.get("device"),
        threads=provenance.get("threads"),
        bench=provenance.get("bench"),
        commit=provenance.get("commit"),
        dirty=provenance.get("dirty"),
        torch=provenance.get("torch"),
        started=provenance.get("started"),
        ended=provenance.get("ended"),
        command=provenance.get("command"),
        sources=provenance.get("sources") or {},
        embed_sources=provenance.get("embed_sources") or {},
        earlier_sources=tuple(provenance.get("earlier_sources") or ()),
        start_sources=tuple(provenance.get("start_sources") or ()),
        resumed=provenance.get("resumed") or 0,
        ranks=provenance.get("ranks") or 1,
        pretrain=pretrain,
    )
