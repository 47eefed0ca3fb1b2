"""The configuration: a typed schema, loading with dotted overrides, and every complaint at once before anything slow.

Light: imports neither torch nor ray nor transformers (tests/unit/test_imports.py).
"""

from memrl.config.check import check_config
from memrl.config.load import config_name, find_config, load_config, save_config
from memrl.config.schema import (
    AdvantageConfig,
    Config,
    DataConfig,
    DifficultyConfig,
    EndpointConfig,
    EvalConfig,
    JudgeConfig,
    LoraConfig,
    LossConfig,
    MemoryConfig,
    ModelConfig,
    RayConfig,
    ReaderConfig,
    RewardConfig,
    RolloutConfig,
    RunConfig,
    SftConfig,
    StageConfig,
    TrainConfig,
    UntilConfig,
    VllmConfig,
)

__all__ = [
    "AdvantageConfig",
    "Config",
    "DataConfig",
    "DifficultyConfig",
    "EndpointConfig",
    "EvalConfig",
    "JudgeConfig",
    "LoraConfig",
    "LossConfig",
    "MemoryConfig",
    "ModelConfig",
    "RayConfig",
    "ReaderConfig",
    "RewardConfig",
    "RolloutConfig",
    "RunConfig",
    "SftConfig",
    "StageConfig",
    "TrainConfig",
    "UntilConfig",
    "VllmConfig",
    "check_config",
    "config_name",
    "find_config",
    "load_config",
    "save_config",
]
