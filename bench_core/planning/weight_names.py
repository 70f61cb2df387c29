"""Finds the tensors of an encoder among those of a file whose names differ.

    state_dict.module.encoder_q.conv1.weight     the encoder's net.conv1.weight: usual words stand before the name
    backbone.4.0.conv1.weight                    layer1.0.conv1.weight: nn.Sequential has numbered the layers

A name belongs to the encoder's where only words before it differ, so that one prefix serves all tensors. Numbered
layers are taken in their order, if names and shapes inside them leave a single way.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench_core.errors import RequestError, shown
from bench_core.store.weight_files import CONTAINERS

Shapes = Mapping[str, tuple[int, ...]]
TOP = "."  # as `init_part`, the tensors without a prefix
_USUAL = frozenset(
    (*CONTAINERS, "base_model", "trunk", "module", "backbone", "encoder", "encoder_q", "net", "_feature_blocks")
)
_SAME_WORD = {"shortcut": "downsample"}  # the residual branch of a ResNet, in lightly and in torchvision
_COUNTER = "num_batches_tracked"  # of batch normalisation; older files lack it, and no feature depends on it


@dataclass(frozen=True)
class Match:
    """One way to read an encoder from a file.

    Attributes:
        prefix: Words before the encoder's names in the file, "state_dict.backbone"; "" where there are none.
        names: The encoder's name -> the file's, of tensors that have the same shape in both.
        missing: The encoder's tensors that the file lacks.
        reshaped: The encoder's tensors that have another shape in the file -> their name in the file.
        surplus: The file's tensors inside layers of the encoder that the encoder lacks: it is a larger network.
    """

    prefix: str
    names: Mapping[str, str]
    missing: Sequence[str]
    reshaped: Mapping[str, str]
    surplus: Sequence[str]

    @property
    def is_complete(self) -> bool:
        """True if the file holds all of the encoder, and the encoder all of the file's layers."""
        return bool(self.names) and not (self.missing or self.reshaped or self.surplus)

    @property
    def from_seed(self) -> list[str]:
        """The encoder's tensors that would keep their initial values."""
        return [*self.missing, *self.reshaped]

    def is_usual(self, part: str = "") -> bool:
        """Return True if the prefix consists of usual words, and of those of `part`."""
        return set(_words(self.prefix)) <= _USUAL | set(_words(part))

    def is_in(self, part: str) -> bool:
        """Return True if the words of `part` stand in the prefix, one after the other."""
        if part == TOP:
            return not self.prefix
        return f".{part}." in f".{self.prefix}."


def find_matches(expected: Shapes, optional: Collection[str], file: Shapes) -> list[Match]:
    """Return all ways to read an encoder from a file, those with the most tensors first.

    Args:
        expected: The shapes of the encoder's tensors, in the order of its layers.
        optional: Names among them that a file may lack.
        file: The shapes of the file's tensors.
    """
    required = [name for name in expected if name not in optional]
    own = _own_prefix(required)
    wanted = {_spelled(name.removeprefix(own)): name for name in expected if name.startswith(own)}
    found = _by_prefix(wanted, file)
    for prefix, names in found.items():  # what stands outside of `net.`, such as the standardisation
        if prefix.endswith(own):
            whole = prefix.removesuffix(own)
            names |= {name: whole + name for name in expected if not name.startswith(own) and whole + name in file}
    matches = [_match(prefix, names, wanted, expected, required, file) for prefix, names in found.items()]
    if not any(match.is_complete for match in matches):
        numbered = _by_order(wanted, expected, file)
        matches += [_match(prefix, names, {}, expected, required, file) for prefix, names in numbered]
    return sorted(matches, key=lambda match: -len(match.names))


def choose_match(matches: Sequence[Match], part: str, *, partial: bool) -> Match | None:
    """Return the match to load; None where nothing of the file belongs to the encoder.

    Prefixes of usual words come before others. Where no match is complete, it is the one with the most tensors.

    Args:
        matches: What `find_matches` found.
        part: The value of `init_part`; "" leaves the choice to the names.
        partial: Whether a match that is not complete will be loaded, so that it must be the only one of its size.

    Raises:
        RequestError: Several fit equally well, or none is in `part`.
    """
    inside = [match for match in matches if not part or match.is_in(part)]
    inside = [match for match in inside if match.prefix == part] or inside
    if matches and not inside:
        known = [match for match in matches if match.is_complete] or matches[:1]
        raise RequestError(f"no weights of this encoder are under init_part = {shown(part)}. {_listed(known)}")
    complete = [match for match in inside if match.is_complete]
    usual = [match for match in complete or inside if match.is_usual(part)]
    best = usual or complete or inside
    if not complete:
        best = [match for match in best if len(match.names) == len(best[0].names)]
    if len(best) > 1 and (complete or partial):
        raise RequestError(f"several parts of the file fit this encoder. {_listed(best)}")
    return best[0] if best else None


def _listed(matches: Iterable[Match]) -> str:
    """Return a sentence with the first parts to choose from."""
    parts = list(dict.fromkeys(match.prefix or TOP for match in matches))
    more = f" and {len(parts) - 6} more" if len(parts) > 6 else ""
    return f"Choose one of {', '.join(parts[:6])}{more}: --set NAME.init_part={parts[0]}"


def _match(
    prefix: str,
    names: Mapping[str, str],
    wanted: Mapping[str, str],
    expected: Shapes,
    required: Iterable[str],
    file: Shapes,
) -> Match:
    """Return a match of these names, which are sorted by whether the shapes agree."""
    layers = {name.partition(".")[0] for name in wanted if "." in name}
    used = set(names.values())
    surplus = [
        name
        for name in file
        if name.startswith(prefix) and name not in used and not name.endswith(_COUNTER)
        if name.removeprefix(prefix).partition(".")[0] in layers
    ]
    return Match(
        prefix=prefix.removesuffix("."),
        names={name: there for name, there in names.items() if expected[name] == file[there]},
        missing=[name for name in required if name not in names],
        reshaped={name: there for name, there in names.items() if expected[name] != file[there]},
        surplus=surplus,
    )


def optional_names(expected: Iterable[str]) -> set[str]:
    """Return the names of counters among these, which any file may lack."""
    return {name for name in expected if name.endswith(_COUNTER)}


def _own_prefix(required: Sequence[str]) -> str:
    """Return the usual words with which all names of the encoder begin: "net."."""
    own = ""
    while required:
        word = required[0].removeprefix(own).partition(".")[0]
        longer = f"{own}{word}."
        if word not in _USUAL or not all(name.startswith(longer) for name in required):
            break
        own = longer
    return own


def _by_prefix(wanted: Mapping[str, str], file: Shapes) -> dict[str, dict[str, str]]:
    """Return prefix -> the encoder's name -> the file's, where the rest of the file's name is one that is wanted."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for name in file:
        words = name.split(".")
        for start in range(len(words)):
            target = wanted.get(_spelled(".".join(words[start:])))
            if target:
                found["".join(f"{word}." for word in words[:start])][target] = name
    return found


def _by_order(wanted: Mapping[str, str], expected: Shapes, file: Shapes) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield prefix and names of numbered layers that are the encoder's layers in order, if in one way alone."""
    if not all("." in name for name in wanted):
        return
    layers: dict[str, dict[str, str]] = defaultdict(dict)
    for name, target in wanted.items():
        layer, _, rest = name.partition(".")
        layers[layer][rest] = target
    for prefix, children in _numbered(file).items():
        numbers = [children[number] for number in sorted(children)]
        for same_shapes in (True, False):
            fits = [
                [
                    _inner(layer) == _inner(child)
                    and (
                        not same_shapes
                        or all(expected[layer[r]] == file[child[r]] for r in layer.keys() & child.keys())
                    )
                    for child in numbers
                ]
                for layer in layers.values()
            ]
            places = _only_order(fits)
            if places:
                pairs = zip(layers.values(), (numbers[place] for place in places), strict=True)
                yield prefix, {layer[r]: child[r] for layer, child in pairs for r in layer if r in child}
                break


def _numbered(file: Shapes) -> dict[str, dict[int, dict[str, str]]]:
    """Return prefix -> number of a layer -> the rest of a name, spelled as ours -> the file's whole name."""
    groups: dict[str, dict[int, dict[str, str]]] = defaultdict(lambda: defaultdict(dict))
    for name in file:
        words = name.split(".")
        for place, word in enumerate(words[:-1]):
            if word.isdecimal():
                prefix = "".join(f"{before}." for before in words[:place])
                groups[prefix][int(word)][_spelled(".".join(words[place + 1 :]))] = name
    return groups


def _only_order(fits: Sequence[Sequence[bool]]) -> list[int] | None:
    """Return the places that rows take in rising order, if that is possible in one way alone.

    Args:
        fits: Row -> place -> whether the row may stand there.
    """
    first, last = _earliest(fits), _earliest([row[::-1] for row in fits[::-1]])
    if first is None or last is None:
        return None
    mirrored = [len(fits[0]) - 1 - place for place in last[::-1]]
    return first if first == mirrored else None  # the earliest places are the latest ones: there are no others


def _earliest(fits: Sequence[Sequence[bool]]) -> list[int] | None:
    """Return the earliest places that rows can take in rising order; None where there are none."""
    places: list[int] = []
    for row in fits:
        start = places[-1] + 1 if places else 0
        place = next((place for place in range(start, len(row)) if row[place]), None)
        if place is None:
            return None
        places.append(place)
    return places


def _inner(names: Iterable[str]) -> set[str]:
    return {name for name in names if not name.endswith(_COUNTER)}


def _spelled(name: str) -> str:
    """Return a name in which words that mean the same are the same."""
    return ".".join(_SAME_WORD.get(word, word) for word in name.split("."))


def _words(prefix: str) -> list[str]:
    return prefix.split(".") if prefix else []
