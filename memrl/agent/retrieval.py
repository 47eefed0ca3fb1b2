"""The retrieval of an agent's memory: as in training, or as whoever opens the agent says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from memrl.config import MemoryConfig
from memrl.envs.designs.searching import uses_own_search
from memrl.envs.retrieval import complaint_of, open_retrieval, try_retrieval
from memrl.errors import ConfigError, PluginError


def set_retrieval(config: MemoryConfig, retrieval: str | None, options: Mapping[str, Any], policy: Path | str) -> None:
    """Have items found by another retrieval or with other options than in training, and see that it works here.

    Raises:
        ConfigError: it does not.
    """
    if retrieval is None:
        config.retrieval_options = {**config.retrieval_options, **options}
    else:
        config.retrieval, config.retrieval_options = retrieval, dict(options)
    if uses_own_search(config.retrieval, config.retrieval_options):
        return
    try:
        complaint = complaint_of(config.retrieval, config.retrieval_options)
        if not complaint:
            try_retrieval(open_retrieval(config.retrieval, config.retrieval_options))
    except PluginError as error:
        complaint = str(error)
    if complaint:
        raise ConfigError(
            f"{policy}: {complaint}. Say where its model is: --retrieval-model PATH (in Python: retrieval_options="
            "{'model': ...}), or find items otherwise: retrieval='bm25'."
        )
