"""The command line of `bench run` for a request that was made in Python, so that a process can be started for it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench_core.errors import ConfigError, RequestError, shown
from bench_core.planning.request import Request
from bench_core.planning.settings import parse_settings, parse_sweeps, read_typed
from bench_core.running.setting import RunSetting


def run_command(request: Request, setting: RunSetting, store: Path) -> list[str]:
    """Return `run` and its options for the same cells, run with the same settings.

    `isolate`, `jobs` and `time_limit` are left out: they are for the process that starts others.

    Raises:
        RequestError: Something in the request cannot be written on a command line, such as an object in `settings`.
    """
    return ["run", *_request_options(request), *_setting_options(setting), f"--store={store}"]


def with_device(command: Sequence[str], device: str | None) -> list[str]:
    """Return a command of `bench run` with another `--device`; None leaves it as it is."""
    return list(command) if device is None else with_option(command, "--device", device)


def with_option(command: Sequence[str], option: str, value: object) -> list[str]:
    """Return a command with an option of one value, in place of the value that it gives the option."""
    kept: list[str] = []
    for word in command:
        is_value = kept[-1:] == [option]
        if is_value:
            kept.pop()
        elif not word.startswith(f"{option}="):
            kept.append(word)
    return [*kept, f"{option}={value}"]


def _request_options(request: Request) -> Iterator[str]:
    for section in ("datasets", "encoders", "methods", "tasks"):
        names: Sequence[str] | None = getattr(request, section)
        if names is not None:
            yield f"--{section}={_names(section, names)}"
    if request.seeds is not None:
        yield f"--seeds={','.join(map(str, request.seeds))}"
    if request.at_epochs:
        yield f"--at=epochs={','.join(map(str, request.at_epochs))}"
    for option in ("board", "epochs", "batch_size", "precision", "validation", "data_root"):
        if getattr(request, option) is not None:
            yield f"--{option.replace('_', '-')}={getattr(request, option)}"
    yield from _assignments("set", request.settings)
    yield from _assignments("sweep", request.sweeps)


def _setting_options(setting: RunSetting) -> Iterator[str]:
    yield f"--device={setting.device}"
    yield f"--workers={setting.workers}"
    if setting.data_cache is not None:
        yield f"--data-cache={setting.data_cache}"
    if setting.memory is not None:
        yield f"--memory={setting.memory}"
    yield f"--ranks={setting.ranks}"
    yield f"--checkpoint-every={setting.checkpoint_every}"
    if setting.resume_anyway:
        yield "--resume-anyway"
    if setting.compiled:
        yield "--compile"
    if setting.rerun:
        yield f"--rerun={_names('rerun', setting.rerun)}"
    if setting.log:
        yield f"--log={_names('log', setting.log)}"
    if setting.probe_every:
        yield f"--probe-every={setting.probe_every}"
    if setting.keep_every:
        yield f"--keep-every={setting.keep_every}"
    yield f"--claim-beat={setting.claim_beat}"
    yield f"--claim-stale={setting.claim_stale}"


def _names(section: str, names: Sequence[str]) -> str:
    for name in names:
        if "," in name or name != name.strip():
            raise _cannot_be_written(f"{section}: {shown(name)}")
    return ",".join(names)


def _assignments(option: str, values: Mapping[str, Any]) -> Iterator[str]:
    """Yield `--set=NAME.PARAM=VALUE` or `--sweep=NAME.PARAM=A,B`, one for each parameter.

    Values are written as JSON, which is valid TOML for all types that TOML has, and are parsed again to check that they
    come back unchanged.
    """
    for path, value in values.items():
        try:
            text = json.dumps(value, ensure_ascii=False)
            if option == "sweep":
                assignment = f"{path}={text[1:-1]}"  # without the brackets of the list
                parsed = read_typed(parse_sweeps([assignment]), {})
            else:
                assignment = f"{path}={text}"
                parsed = read_typed(parse_settings([assignment]), {})
        except (TypeError, ValueError, ConfigError) as error:
            raise _cannot_be_written(f"{path} = {shown(value)}") from error
        if json.dumps(parsed, ensure_ascii=False) != json.dumps({path: value}, ensure_ascii=False):
            raise _cannot_be_written(f"{path} = {shown(value)}")
        yield f"--{option}={assignment}"


def _cannot_be_written(what: str) -> RequestError:
    return RequestError(
        f"{what} cannot be written on a command line, by which a process for a chain is started; use plain numbers, "
        "text and lists, or leave out isolate, jobs and time_limit."
    )
