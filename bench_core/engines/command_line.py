"""A request as the words of a command: what a process of its own can be asked for."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench_core.errors import ConfigError, RequestError, shown
from bench_core.planning.request import Request
from bench_core.planning.settings import parse_settings, parse_sweeps


def command_of(request: Request, store: Path) -> list[str]:
    """The words of `bench run` that ask for the same.

    Raises:
        RequestError: Something in the request cannot be said in words, such as an object in `settings`.
    """
    return ["run", *_words(request), f"--store={store}"]


def _words(request: Request) -> Iterator[str]:
    for section in ("datasets", "encoders", "methods", "tasks"):
        names: Sequence[str] | None = getattr(request, section)
        if names is not None:
            yield f"--{section}={_names(section, names)}"
    if request.seeds is not None:
        yield f"--seeds={','.join(map(str, request.seeds))}"
    for option in ("board", "epochs", "batch_size", "precision", "device", "data_root"):
        if getattr(request, option) is not None:
            yield f"--{option.replace('_', '-')}={getattr(request, option)}"
    yield from _assignments("set", request.settings)
    yield from _assignments("sweep", request.sweeps)


def _names(section: str, names: Sequence[str]) -> str:
    for name in names:
        if "," in name or name != name.strip():
            raise _unsaid(f"{section}: {shown(name)}")
    return ",".join(names)


def _assignments(option: str, values: Mapping[str, Any]) -> Iterator[str]:
    """`--set=NAME.PARAM=VALUE`, in JSON's words, which are TOML's where it has any; each is read back to be sure."""
    for path, value in values.items():
        try:
            text = json.dumps(value, ensure_ascii=False)
            word = f"{path}={text[1:-1] if option == 'sweep' else text}"
            read: Mapping[str, Any] = parse_sweeps([word]) if option == "sweep" else parse_settings([word])
        except (TypeError, ValueError, ConfigError) as error:
            raise _unsaid(f"{path} = {shown(value)}") from error
        if json.dumps(read, ensure_ascii=False) != json.dumps({path: value}, ensure_ascii=False):
            raise _unsaid(f"{path} = {shown(value)}")
        yield f"--{option}={word}"


def _unsaid(what: str) -> RequestError:
    return RequestError(
        f"{what} cannot be said in the words of a command, which is how a process of its own is asked; leave out "
        "isolate, jobs and time_limit."
    )
