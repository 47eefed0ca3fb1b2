"""The names that settings have elsewhere (transformers, TRL, PEFT, vLLM), for whoever types them here from habit."""

from __future__ import annotations

USUAL = {
    "adapter_rank": "model.lora.rank",
    "base_url": "reader.endpoint.url",
    "batch_size": "train.streams_per_step",
    "beta": "loss.kl",
    "bf16": "model.dtype",
    "checkpoint_dir": "run.dir",
    "clip_range": "loss.clip_low",
    "dataset": "data.train",
    "device_map": "model.device",
    "epochs": "train.steps",
    "epsilon": "loss.clip_low",
    "epsilon_high": "loss.clip_high",
    "eval_steps": "eval.every",
    "fp16": "model.dtype",
    "gradient_accumulation_steps": "train.micro_batch_tokens",
    "kl_coef": "loss.kl",
    "learning_rate": "train.lr",
    "logging_dir": "run.dir",
    "lora_alpha": "model.lora.alpha",
    "lora_r": "model.lora.rank",
    "lora_rank": "model.lora.rank",
    "lr_scheduler": "train.schedule",
    "lr_scheduler_type": "train.schedule",
    "max_completion_length": "rollout.max_completion_tokens",
    "max_length": "sft.max_length",
    "max_new_tokens": "rollout.max_completion_tokens",
    "max_prompt_length": "rollout.max_prompt_tokens",
    "max_steps": "train.steps",
    "model_name": "model.path",
    "model_name_or_path": "model.path",
    "num_generations": "train.group_size",
    "num_train_epochs": "train.steps",
    "num_workers": "rollout.workers",
    "output_dir": "run.dir",
    "per_device_train_batch_size": "train.micro_batch_tokens",
    "report_to": "run.trackers",
    "save_steps": "run.save_every",
    "save_total_limit": "run.keep_checkpoints",
    "scheduler": "train.schedule",
    "tensor_parallel": "vllm.tensor_parallel_size",
    "torch_dtype": "model.dtype",
    "warmup": "train.warmup_steps",
    "warmup_ratio": "train.warmup_steps",
}
"""A setting here by its last name elsewhere."""


def usual_key(word: str, keys: set[str]) -> str | None:
    """Return the setting that a name from elsewhere means: of the section that was typed, where that has one."""
    section, _, last = word.rpartition(".")
    meant = USUAL.get(last.casefold())
    if meant is None:
        return None
    beside = f"{section}.{meant.rpartition('.')[2]}"
    return beside if beside in keys else meant
