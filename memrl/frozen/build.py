"""The reader and the judge of a configuration."""

from __future__ import annotations

from functools import partial

from memrl.config import Config
from memrl.config.registries import JUDGES, READERS
from memrl.endpoints.cache import open_cache
from memrl.endpoints.client import open_endpoint
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
    endpoint = partial(open_endpoint, config.reader.endpoint, "reader", config.run.dir)
    setting = ReaderSetting(config.reader, config.memory.retrieve_budget, engine, prompter, endpoint)
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


def open_judge(config: Config, engine: Engine, prompter: Prompter) -> Judge | None:
    """Open the judge that `judge.type` names; None for `none`.

    Args:
        engine, prompter: of the worker, for `policy-base`.

    Raises:
        ConfigError: the key of its endpoint is not in this machine's environment.
    """
    judge: Judge | None = JUDGES.get(config.judge.type)(config, engine, prompter)
    return judge


def open_endpoint_judge(config: Config) -> Judge | None:
    """Open the judge where it is behind an endpoint, and so needs no worker; None where it is not.

    Raises:
        ConfigError: the key of its endpoint is not in this machine's environment.
    """
    if config.judge.type != "endpoint":
        return None
    endpoint = open_endpoint(config.judge.endpoint, "judge", config.run.dir)
    return Judge(config.judge, config.rewards, EndpointAsker(endpoint))


def no_judge(config: Config, engine: Engine, prompter: Prompter) -> None:
    """Open no judge."""


def endpoint_judge(config: Config, engine: Engine, prompter: Prompter) -> Judge | None:
    """Open a judge behind an endpoint."""
    return open_endpoint_judge(config)


def policy_base_judge(config: Config, engine: Engine, prompter: Prompter) -> Judge:
    """Open a judge that is the policy's base model."""
    asker = EngineAsker(
        engine,
        prompter,
        open_cache(config.judge.endpoint, "judge", config.run.dir),
        model=config.model.path,
        max_prompt_tokens=config.rollout.max_prompt_tokens,
    )
    return Judge(config.judge, config.rewards, asker)
