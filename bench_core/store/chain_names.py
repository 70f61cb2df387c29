"""Names of chains that people read: `digits/convnet/nac/seed-0`.

A name is made from what defines the training: dataset, encoder, method, fold where there is one, and seed. Where
several chains would bear one name, each gets `~` and the first digits of its key. Folders whose recipe is damaged have
no name, but can be asked for by key.
"""

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from bench_core.errors import RequestError, StoreError, did_you_mean, shown
from bench_core.keys import leaves
from bench_core.store.chain_files import RECIPE, SUMMARY, file_with, read_recipe
from bench_core.store.store import Store
from bench_core.store.under_way import UNDER_WAY

LEAST_DIGITS = 4  # of the beginning of a key that is asked for
SHOWN_DIGITS = 8  # of a key behind `~`
_KEY = re.compile(r"[0-9a-f]{64}")
_BEGINNING = re.compile(rf"[0-9a-f]{{{LEAST_DIGITS},64}}")
_NO_PART = re.compile(r"[/\\:\x00-\x1f\x7f]")  # characters that cannot stand in the name of a folder everywhere
_MOST_SHOWN = 6  # chains and parameters that a message lists


def chain_folders(store: Store, *, under_way: bool = False) -> dict[str, Path]:
    """Return key -> folder of the store's trained chains, sorted by key.

    Args:
        store: The store.
        under_way: Also return the folders of chains whose training has not ended.
    """
    folders: dict[str, Path] = {}
    top = store.path / "chains"
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(top) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            key = entry.name.removesuffix(UNDER_WAY)
            if _KEY.fullmatch(key) and entry.is_dir() and (under_way or entry.name == key):
                folders.setdefault(key, top / entry.name)  # a finished folder is sorted before the one under way
    return folders


def chain_names(
    store: Store, *, under_way: bool = False, known: Mapping[str, str] = MappingProxyType({})
) -> dict[str, str]:
    """Return key -> name of the store's chains; those with a damaged recipe are left out.

    Args:
        store: The store.
        under_way: Also name the chains whose training has not ended.
        known: Key -> name of chains that need not be read for theirs, without the digits that it may end with.
    """
    folders = chain_folders(store, under_way=under_way)
    read = _recipes({key: folder for key, folder in folders.items() if key not in known})
    return _unique({key: known.get(key) or _name(read[key]) for key in folders if key in known or key in read})


def find_chain(store: Store, text: str, *, under_way: bool = False) -> Path:
    """Find the folder of a chain by its name, its key or the beginning of it, or a path.

    Args:
        store: The store.
        text: What was typed; the front of a name may be left out: `nac/seed-0`.
        under_way: Also find a chain whose training has not ended.

    Raises:
        RequestError: There is no such chain, or there are several; the message says what to type.
    """
    folders = chain_folders(store, under_way=under_way)
    recipes = _recipes(folders)
    plain = {key: _name(recipe) for key, recipe in recipes.items()}
    names = _unique(plain)
    wanted = text.rstrip("/")
    found = [key for key in names if wanted in (names[key], plain[key])]
    if not found and wanted:
        found = [
            key for key in names if f"/{wanted}" in (names[key][-len(wanted) - 1 :], plain[key][-len(wanted) - 1 :])
        ]
    if not found and _BEGINNING.fullmatch(wanted):
        found = [key for key in folders if key.startswith(wanted)]
    if len(found) == 1:
        return folders[found[0]]
    if found:
        raise RequestError(_several(text, found, names, recipes))
    if _is_file(file_with(RECIPE, Path(text))):
        return Path(text)
    raise RequestError(
        f"{store.path} has no chain {shown(text)}{did_you_mean(wanted, _suggestions(names, plain, wanted))} Give a "
        f"name, at least {LEAST_DIGITS} digits of a key, or a folder; `bench path --store {store.path}` prints all."
    )


@dataclass(frozen=True)
class NamedChain:
    """A trained chain of a store, with its name and the parts of it."""

    key: str
    folder: Path
    name: str
    dataset: str
    encoder: str
    method: str
    seed: int


def select_chains(
    store: Store,
    method: str | None = None,
    seed: int | None = None,
    dataset: str | None = None,
    encoder: str | None = None,
) -> list[NamedChain]:
    """Return the trained chains of a store, newest last; None takes all methods, seeds, ..."""
    recipes = _recipes(chain_folders(store))
    names = _unique({key: _name(recipe) for key, recipe in recipes.items()})
    chains = []
    for key, recipe in recipes.items():
        parts = recipe_names(recipe)
        encoder_name = parts.get("own_encoder") or parts["encoder"]
        named = NamedChain(
            key, store.chain_folder(key), names[key], parts["dataset"], encoder_name, parts["method"],
            recipe["doc"]["seed"],
        )  # fmt: skip
        pairs = ((method, named.method), (seed, named.seed), (dataset, named.dataset), (encoder, named.encoder))
        if all(wanted in (None, found) for wanted, found in pairs):
            chains.append(named)
    return sorted(chains, key=lambda chain: (_time(chain.folder), chain.key))


def _time(folder: Path) -> float:
    """Return when a chain was trained."""
    try:
        return file_with(SUMMARY, folder).stat().st_mtime
    except OSError:
        return 0.0


def _recipes(folders: Mapping[str, Path]) -> dict[str, dict[str, Any]]:
    """Return key -> what defines the training of all chains where it is whole."""
    recipes = {}
    for key, folder in folders.items():
        try:
            recipes[key] = read_recipe(folder, key)
        except (StoreError, OSError):
            continue
    return recipes


def recipe_names(recipe: Mapping[str, Any]) -> dict[str, str]:
    """Return axis -> name of a chain's recipe; where it holds none, the names of the components."""
    document = recipe["doc"]
    names = {axis: str(document[axis]["id"]).rpartition("/")[2] for axis in ("dataset", "encoder", "method")}
    given = recipe.get("names")
    if isinstance(given, Mapping):
        names |= {axis: name for axis, name in given.items() if isinstance(name, str)}
    return names


def _name(recipe: Mapping[str, Any]) -> str:
    """Return the name of a chain, without what tells it from others of the same name."""
    names = recipe_names(recipe)
    parts = [names["dataset"], names.get("own_encoder") or names["encoder"], names["method"]]
    if fold := names.get("fold"):
        parts.append(f"fold-{fold.partition(' ')[0]}")
    return "/".join(map(_part, (*parts, f"seed-{recipe['doc']['seed']}")))


def _part(text: str) -> str:
    """Return one part of a name as a folder can be called: no link can lead out of its folder."""
    part = _NO_PART.sub("-", text).strip()
    return part if part.strip(".") else "-"


def names_of(recipes: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return key -> name of chains by what defines their training, `doc` and `names`; none needs to be trained."""
    return _unique({key: _name(recipe) for key, recipe in recipes.items()})


def _unique(names: Mapping[str, str]) -> dict[str, str]:
    """Add the beginning of the key to each name that several chains bear."""
    count = Counter(names.values())
    return {key: name if count[name] == 1 else f"{name}~{key[:SHOWN_DIGITS]}" for key, name in names.items()}


def _suggestions(names: Mapping[str, str], plain: Mapping[str, str], wanted: str) -> set[str]:
    """Return the names that a text may mean, without their fronts where the text has none."""
    every = {*names.values(), *plain.values()}
    parts = wanted.count("/") + 1
    return every | {"/".join(name.split("/")[-parts:]) for name in every}


def _several(text: str, keys: Sequence[str], names: Mapping[str, str], recipes: Mapping[str, Mapping[str, Any]]) -> str:
    """Write the message of a text that fits several chains: each with the parameters in which they differ."""
    documents = [dict(leaves(recipes[key]["doc"])) if key in recipes else {} for key in keys]
    paths = sorted({path for document in documents for path in document})
    differing = [path for path in paths if len({repr(document.get(path)) for document in documents}) > 1]
    lines = []
    for key, document in list(zip(keys, documents, strict=True))[:_MOST_SHOWN]:
        values = ", ".join(f"{path} = {shown(document.get(path))}" for path in differing[:_MOST_SHOWN])
        lines.append(f"{names.get(key, 'damaged')} ({key[:SHOWN_DIGITS]}): {values or 'no difference'}")
    more = f"; and {len(keys) - _MOST_SHOWN} more" if len(keys) > _MOST_SHOWN else ""
    return f"{shown(text)} fits {len(keys)} chains; give the digits of one. {'; '.join(lines)}{more}."


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False
