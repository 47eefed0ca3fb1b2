"""The reader and the judge of a configuration."""

from __future__ import annotations

from functools import partial

from memrl.config import Config
from memrl.config.registries import JUDGES, READERS
from memrl.endpoints.cache import AnswerCache, cache_folder
from memrl.endpoints.client import Endpoint, reader_endpoint
from memrl.engines.engine import Engine
from memrl.engines.prompting import Prompter
from memrl.frozen.judge import EndpointAsker, EngineAsker, Judge
from memrl.frozen.reader import EndpointReader, LexicalReader, PolicyBaseReader, Reader, ReaderSetting


def open_reader(config: Config, engine: Engine, prompter: Prompter) -> Reader:
    """Open the reader that `reader.type` names.

    Args:
        engine, prompter: of the worker.

    Raises:
        ConfigError: the key of its endpoint is not in this machine's environment.
        PluginError: it is somebody else's, and cannot be imported or called.
    """
    setting = ReaderSetting(
        config.reader, config.memory.retrieve_budget, engine, prompter, partial(reader_endpoint, config)
    )
    reader: Reader = READERS.get(config.reader.type)(setting)
    return reader


def lexical_reader(setting: ReaderSetting) -> Reader:
    """Open the reader `lexical`."""
    return LexicalReader(setting.retrieve_budget)


def policy_base_reader(setting: ReaderSetting) -> Reader:
    """Open the reader `policy-base`."""
    return PolicyBaseReader(setting.config, setting.retrieve_budget, setting.engine, setting.prompter)


def endpoint_reader(setting: ReaderSetting) -> Reader:
    """Open the reader `endpoint`."""
    return EndpointReader(setting.config, setting.retrieve_budget, setting.open_endpoint())


def open_judge(config: Config, engine: Engine | None = None, prompter: Prompter | None = None) -> Judge | None:
    """Open the judge that `judge.type` names; None for `none`.

    Args:
        engine, prompter: of the worker, for `policy-base`.

    Raises:
        ConfigError: the key of its endpoint is not in this machine's environment.
    """
    judge: Judge | None = JUDGES.get(config.judge.type)(config, engine, prompter)
    return judge


def no_judge(config: Config, engine: Engine | None, prompter: Prompter | None) -> None:
    """Open no judge."""


def endpoint_judge(config: Config, engine: Engine | None, prompter: Prompter | None) -> Judge:
    """Open a judge behind an endpoint."""
    return Judge(config, EndpointAsker(Endpoint(config.judge.endpoint, "judge", _cache(config))))


def policy_base_judge(config: Config, engine: Engine | None, prompter: Prompter | None) -> Judge:
    """Open a judge that is the policy's base model."""
    assert engine is not None and prompter is not None
    return Judge(config, EngineAsker(config, engine, prompter, _cache(config)))


def _cache(config: Config) -> AnswerCache | None:
    folder = cache_folder(config, "judge")
    return AnswerCache(folder) if folder else None
