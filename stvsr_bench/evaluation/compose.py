"""Hydra's side of the command line: options from the registry, path keys as people type them, errors in our form."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from stvsr_bench.core import registry
from stvsr_bench.core.errors import BenchError, ConfigError, UnknownNameError, nearest
from stvsr_bench.core.paths import conf_dir, user_path

Config = dict[str, Any]

METHOD_DEFAULTS: Config = {"scale": None, "time_scale": None, "preset": None, "allow_untrained": False}
DATASET_DEFAULTS: Config = dict.fromkeys(("root", "variant", "lq_size", "clips", "frames", "limit"))

_OVERRIDE = re.compile(r"^(?P<prefix>\+{0,2})(?P<key>[A-Za-z_][\w.@/-]*)=(?P<value>.*)$", re.DOTALL)
_PATH_KEY = re.compile(r"(^|\.|_)(root|dir|path|file|checkpoint)$")
_TEXT_KEYS = {"method.label", "method.prompt", "dataset.name", "dataset.clips", "dataset.frames"}


def quote_override(argument: str) -> str:
    """Return a command-line override with paths (and free texts) quoted for Hydra's grammar.

    Values of keys that end in ``root``, ``dir``, ``path``, ``file`` or ``checkpoint`` are paths: ``~`` is expanded,
    relative ones are made absolute from the caller's folder, and spaces, commas, ``=``, parentheses and non-ASCII need
    no quoting.

    Such a key, and a free text such as ``dataset.clips``, is never a sweep: a comma belongs to the value.

    >>> quote_override("seed=1,2")
    'seed=1,2'
    >>> quote_override("dataset.root=/data/my clips (1), a=b")
    "dataset.root='/data/my clips (1), a=b'"
    >>> quote_override("dataset.clips=calendar,city")
    "dataset.clips='calendar,city'"
    """
    match = _OVERRIDE.match(argument)
    if match is None:
        return argument
    key, value = match["key"], match["value"]
    is_path = _PATH_KEY.search(key) is not None
    if not (is_path or key in _TEXT_KEYS) or value in ("", "null", "???"):
        return argument
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        value = value[1:-1]
    text = str(user_path(value)) if is_path else value
    # A backslash counts only before a quote; `${` would be an interpolation.
    text = re.sub(r"(\\*)'", lambda m: m[1] * 2 + "\\'", text).replace("${", "\\${")
    text = re.sub(r"(\\+)$", lambda m: m[1] * 2, text)
    return f"{match['prefix']}{key}='{text}'"


def _register_options() -> None:
    """Put every registered method and dataset into Hydra's config store as an option of its group."""
    from hydra.core.config_store import ConfigStore

    store = ConfigStore.instance()
    for group, names, defaults in (
        ("method", registry.methods(), METHOD_DEFAULTS),
        ("dataset", registry.datasets(), DATASET_DEFAULTS),
    ):
        for name, entry in names.items():
            node = {"card": name, "name": name, **defaults, **entry.knobs}
            store.store(group=group, name=name, node=node, provider="stvsr-bench")


@contextmanager
def _our_errors() -> Iterator[None]:
    """Turn Hydra's and OmegaConf's errors into :class:`ConfigError`."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    try:
        yield
    except BenchError:
        raise
    except (HydraException, OmegaConfBaseException) as error:
        raise translate(error) from error


def _key_names(node: Any, prefix: str = "") -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield f"{prefix}{key}"
            yield from _key_names(value, f"{prefix}{key}.")


def translate(error: BaseException) -> BenchError:
    """Return one of our errors for an error of Hydra or OmegaConf."""
    text = str(error)
    cause = error.__cause__ or error.__context__
    found = re.search(r"In '[^']*': Could not find '(\w+)/([^']+)'", text)
    if found and found[1] in ("method", "dataset", "protocol", "metrics", "executor"):
        group, name = found[1], found[2]
        if group in ("method", "dataset"):
            known = list(registry.methods() if group == "method" else registry.datasets())
        else:
            known = [p.stem for p in (conf_dir() / group).glob("*.yaml")]
        if group in ("method", "dataset", "protocol"):
            return UnknownNameError(group, name, known)
        return UnknownNameError(f"{group} group", name, known, f"see {conf_dir() / group}")
    found = re.search(r"You must specify '(\w+)'", text)
    if found:
        return ConfigError(
            f"'{found[1]}' is not given",
            accepted=f"{found[1]}=NAME",
            action=f"see `stvsr-bench list {found[1]}s`; an example: stvsr-bench run method=bicubic dataset=demo",
        )
    found = re.search(r"Could not override '([^']+)'", text)
    if found:
        key = found[1].lstrip("+~")
        if key.startswith("protocol."):
            return ConfigError(
                "a protocol is fixed and cannot be changed by options",
                got=key,
                accepted="a protocol as it is",
                action="choose another; see `stvsr-bench list protocols`",
            )
        known = sorted(_known_keys(key))
        close = nearest(key, known)
        return ConfigError(
            f"unknown option '{key}'",
            accepted=("nearest known: " + ", ".join(close)) if close else "known: " + ", ".join(known[:20]),
            action="see `stvsr-bench run --cfg job method=… dataset=…` for every option",
        )
    first = next((line for line in text.splitlines() if line.strip()), type(error).__name__)
    detail = f" ({cause})" if cause is not None and str(cause) not in text else ""
    return ConfigError(
        "the options cannot be understood",
        got=f"{first.strip()}{detail}",
        accepted="KEY=VALUE overrides, for example seed=1 or method.scale=4",
        action="quote values with special characters; see `stvsr-bench run --help`",
    )


def _known_keys(key: str) -> set[str]:
    """Return every option name that could be meant by ``key``: top-level ones and those of all registered names."""
    from stvsr_bench.core.cards import read_yaml

    names = set(_key_names({k: v for k, v in read_yaml(conf_dir() / "config.yaml").items() if k not in _HIDDEN}))
    names |= {"method", "dataset", "protocol", "metrics.ids", "executor.workers", "executor.overlap"}
    group = key.partition(".")[0]
    if group in ("method", "dataset"):
        defaults = METHOD_DEFAULTS if group == "method" else DATASET_DEFAULTS
        names |= set(_key_names(defaults, f"{group}."))
        for entry in (registry.methods() if group == "method" else registry.datasets()).values():
            names |= set(_key_names(entry.knobs, f"{group}."))
    return names


_HIDDEN = ("defaults", "hydra")


def compose(overrides: Sequence[str]) -> Config:
    """Compose the configuration of one run from command-line style overrides.

    Raises:
        ConfigError: an unknown option or name, or a value that cannot be parsed.
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from omegaconf import OmegaConf

    _register_options()
    GlobalHydra.instance().clear()
    with _our_errors(), initialize_config_dir(config_dir=str(conf_dir()), version_base="1.3"):
        config = hydra_compose("config", overrides=[quote_override(o) for o in overrides])
        return _plain(OmegaConf.to_container(config, resolve=True, throw_on_missing=False))


def _plain(config: Any) -> Config:
    missing = [key for key, value in _leaves(config) if value == "???"]
    if missing:
        raise ConfigError(
            f"'{missing[0]}' is not given",
            accepted=f"{missing[0]}=VALUE",
            action=f"add {missing[0]}=… to the command",
        )
    result: Config = config
    return result


def _leaves(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _leaves(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, node


def _check_flags(arguments: Sequence[str]) -> None:
    """Refuse ``--options`` that Hydra does not have, in our words instead of its usage text."""
    from hydra._internal.utils import get_args_parser

    known = [flag for action in get_args_parser()._actions for flag in action.option_strings]
    for argument in arguments:
        flag = argument.partition("=")[0]
        if argument.startswith("-") and flag not in known:
            close = nearest(flag, ["--dry-run", *known])
            raise ConfigError(
                f"unknown option '{flag}'",
                accepted="nearest known: " + ", ".join(close) if close else "KEY=VALUE overrides",
                action="see `stvsr-bench run --help`",
            )


def hydra_entry(arguments: Sequence[str], task: Callable[[Config], None], program: str) -> None:
    """Run ``task`` through Hydra's real entry: overrides, ``-m`` sweeps, ``--cfg``, ``--shell-completion``.

    Args:
        arguments: the command line after the program's name.
        task: called once for each job with its resolved configuration; it must not raise for a failing job.
        program: shown by Hydra as the program's name.

    Raises:
        ConfigError: an unknown option or name, or a value that cannot be parsed.
    """
    import hydra
    from omegaconf import OmegaConf

    _check_flags(arguments)
    _register_options()
    saved_argv, saved_full = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    # Hydra writes multirun.yaml into the sweep's folder; results have their own, so that one is thrown away.
    scratch = tempfile.TemporaryDirectory(prefix="stvsr-bench-sweep-")
    quoted = [quote_override(a) for a in arguments]
    if not any(a.startswith("hydra.sweep.dir=") for a in quoted) and {"-m", "--multirun"} & set(quoted):
        quoted.insert(0, f"hydra.sweep.dir='{scratch.name}'")
    sys.argv = [program, *quoted]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises instead of printing and leaving the process.
    try:
        with _our_errors():
            errors: list[BenchError] = []

            def job(config: Any) -> None:
                # Hydra prints a line of its own about a job that raises, so the error is carried past it.
                try:
                    with _our_errors():
                        task(_plain(OmegaConf.to_container(config, resolve=True, throw_on_missing=False)))
                except BenchError as error:
                    errors.append(error)

            hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="config")(job)()
        if errors:
            raise errors[0]
    finally:
        scratch.cleanup()
        sys.argv = saved_argv
        if saved_full is None:
            os.environ.pop("HYDRA_FULL_ERROR", None)
        else:
            os.environ["HYDRA_FULL_ERROR"] = saved_full
