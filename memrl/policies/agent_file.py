"""`memory_agent.json`: what an agent must know to use the model as it was trained."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import memrl
from memrl.config import Config, DataConfig, MemoryConfig, RolloutConfig
from memrl.data.feed import StreamFeed
from memrl.engines.prompting import Prompter
from memrl.envs.dialects import AUTO
from memrl.envs.stream import Chunk, Question, Stream
from memrl.frozen.reader import reader_messages
from memrl.packages import installed_version
from memrl.rollout.environment import new_env, new_memory
from memrl.storage.formats import stamp

AGENT_FILE = "memory_agent.json"
VERSIONS = ("memrl", "torch", "transformers", "peft")
EXAMPLE = Stream(
    id="example",
    source="example",
    chunks=(Chunk(text="Mara lives in Oslo. Vito talked about honey twice.", time="May 2"),),
    questions=(Question(id="q", text="Where does Mara live?", answers=("Oslo",)),),
)


def describe(config: Config, adapter: str, format: str, prompter: Prompter, chunk_tokens: int) -> dict[str, Any]:
    """The file's content. `prompts` are the messages that come before the text, or before memory and question, as the
    chat template is given them; `tools` the schema of each tool by its name.

    Args:
        chunk_tokens: the longest chunk that it read in training.
    """
    rollout = config.rollout
    memory = new_memory(config.memory, prompter)
    observation = new_env(config.memory, rollout, prompter, EXAMPLE, memory).observe()
    memorise, _ = prompter.prepare(observation.messages, observation.tools)
    answer, _ = prompter.prepare(reader_messages("?", memory.retrieve("?", 0), config.reader))
    return {
        **stamp("export"),
        "memrl": memrl.__version__,
        "format": format,
        "base_model": config.model.path,
        "dtype": config.model.dtype,
        "adapter": adapter,
        "memory": asdict(config.memory),
        "dialect": prompter.dialect.name if rollout.dialect == AUTO else rollout.dialect,
        "instruction": rollout.instruction,
        "example": rollout.example,
        "max_turns": rollout.max_turns,
        "guided": rollout.guided,
        "max_prompt_tokens": rollout.max_prompt_tokens,
        "max_completion_tokens": rollout.max_completion_tokens,
        "reader": {
            "max_tokens": config.reader.max_tokens,
            "max_prompt_tokens": config.reader.max_prompt_tokens,
            "instruction": config.reader.instruction,
            "quoted": config.reader.quoted,
        },
        "chunk_tokens": chunk_tokens,
        "tools": {tool.name: tool.json_schema() for tool in observation.tools},
        "prompts": {"memorise": memorise[:-1], "answer": answer[:-1]},
        "versions": {name: installed_version(name) for name in VERSIONS},
    }


def example_page(config: MemoryConfig, rollout: RolloutConfig, prompter: Prompter) -> str:
    """The last message of a first prompt: an empty memory and a text."""
    env = new_env(config, rollout, prompter, EXAMPLE, new_memory(config, prompter))
    return env.observe().messages[-1]["content"]


def longest_chunk(data: DataConfig, seed: int, prompter: Prompter) -> int:
    """Return the tokens of the longest chunk of the first training streams."""
    streams = StreamFeed(data.train, data.path, seed, cycle=False).take(16)
    return max(prompter.count_tokens(chunk.text) for stream in streams for chunk in stream.chunks)
