"""Reasons why an encoder or a method cannot work on a dataset, which a table shows in place of numbers.

They are asked for while a run is planned, so an error of a plugin's code names the plugin.
"""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from bench_core.contracts import DataSpec
from bench_core.contracts.keywords import named_only, needs
from bench_core.errors import BenchError, PluginLoadError
from bench_core.planning.chains import Chain
from bench_core.planning.components import ConfiguredComponent


def skip_reason_of(chain: Chain) -> str | None:
    """Return why the encoder, the method or the chain that it starts from cannot work on the data; None if they can."""
    if reason := encoder_skip_reason(chain.encoder, chain.data) or _method_skip_reason(chain):
        return reason
    if isinstance(chain.init, Chain) and (reason := _method_skip_reason(chain.init)):
        return f"starts from {chain.init.method.name}: {reason}"
    if isinstance(chain.teacher, Chain) and (reason := skip_reason_of(chain.teacher)):
        return f"learns from {chain.teacher.method.name}: {reason}"
    return None


def encoder_skip_reason(encoder: ConfiguredComponent, data: DataSpec) -> str | None:
    """Return why an encoder cannot read a dataset; None if it can."""
    cls = encoder.plugin.cls
    if cls.kinds is not None and data.kind not in cls.kinds:
        return f"reads {' or '.join(sorted(cls.kinds))}, not {data.kind}"
    with plugin_named_in_errors(encoder):
        reason: str | None = cls.skip_reason(data, encoder.config)
    return reason


def _method_skip_reason(chain: Chain) -> str | None:
    if chain.method.plugin.cls.measures_outside_weights and not (chain.outside or chain.init):
        return (
            "trains nothing, and the encoder brings no weights: choose one that does, such as timm, or give "
            f"--set {chain.method.name}.init=FILE"
        )
    if chain.teacher is None and needs(chain.method.plugin.cls.__init__, "teacher"):
        return f"needs a teacher: --set {chain.method.plugin.name}.teacher=ROW, such as supervised, or a chain's folder"
    skip_reason = chain.method.plugin.cls.skip_reason
    with plugin_named_in_errors(chain.method):
        method_of_teacher = chain.teacher.method if chain.teacher else None
        offered = {
            "encoder_class": chain.encoder.plugin.cls,
            "encoder_config": chain.encoder.config,
            "teacher_class": method_of_teacher.plugin.cls if method_of_teacher else None,
        }
        reason: str | None = skip_reason(chain.data, chain.method.config, **named_only(skip_reason, **offered))
    return reason


@contextmanager
def plugin_named_in_errors(component: ConfiguredComponent) -> Iterator[None]:
    """Turn an exception of a plugin's code into a PluginLoadError that names the plugin."""
    try:
        yield
    except BenchError:
        raise
    except Exception as error:
        plugin = component.plugin
        reason = " ".join(traceback.format_exception_only(error)[-1].split())
        raise PluginLoadError(f"{plugin.word} {plugin.id} breaks while planning: {reason}") from error
