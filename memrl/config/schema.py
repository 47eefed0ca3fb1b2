"""The schema: OmegaConf structured dataclasses. A field's comment is its documentation.

Allowed values and ranges stand in `memrl.config.check`, so that all complaints can be listed together.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class RunConfig:
    dir: str | None = None  # default: runs/<config name>
    save_every: int = 1  # checkpoint each N trainer steps
    keep_checkpoints: int = 2  # the newest; older ones are removed
    save_episodes: bool = True  # replayable episodes, one zstd file a step and an evaluation
    report_every: int = 0  # trainer steps between refreshes of the report in the run folder; 0: at the end alone
    trackers: list[str] = field(default_factory=list)  # tensorboard, wandb, trackio, mlflow (extras), or plug-ins


@dataclass
class LoraConfig:
    rank: int = 16  # of the adapter's matrices
    alpha: int = 32  # the adapter counts by alpha / rank
    target_modules: str = "all-linear"  # or a comma-separated list of module names


@dataclass
class ModelConfig:
    path: str = "tiny"  # "tiny" (the embedded model), a model folder, or a hub name
    dtype: str = "float32"  # float32 | bfloat16 | float16
    device: str = "auto"  # auto | cpu | cuda
    lora: LoraConfig = field(default_factory=LoraConfig)


@dataclass
class UntilConfig:
    step: int | None = None  # so many trainer steps are taken
    score: float | None = None  # this question score is reached; with `step`: whichever comes first
    of: str = "held_out"  # whose score: held_out (the newest evaluation) | training (mean of the stage's last 3 steps)
    kind: str | None = None  # of the held-out questions of this kind alone; None: of all


@dataclass
class StageConfig:
    until: UntilConfig | None = None  # when the next stage is entered; the last stage has none
    train: dict[str, Any] = field(default_factory=dict)  # options of the sources of `data.train` that have them
    memory: dict[str, Any] = field(default_factory=dict)  # budget, core_budget, render_budget, max_calls in training


@dataclass
class DifficultyConfig:
    keep: float = 1.0  # share of the times that a stream in one of these two pools is drawn when its turn comes; 1: off
    easy: float = 1.0  # pool easy: every episode of its last group had at least this question score
    hard: float = 0.0  # pool hard: none of them had more than this


@dataclass
class DataConfig:
    path: str | None = None  # where one file suffices: the `path` of every source that names none
    train: list[dict[str, Any]] = field(default_factory=list)  # [{source: synthetic, <its options>}, ...]
    eval: list[dict[str, Any]] = field(default_factory=list)  # held out: the same form
    overlap: str = "refuse"  # where training holds what evaluation is about: refuse | warn | allow (does not look)
    curriculum: list[StageConfig] = field(default_factory=list)  # stages of training: [{until, train, memory}, ...]
    difficulty: DifficultyConfig = field(default_factory=DifficultyConfig)


@dataclass
class MemoryConfig:
    design: str = "stores"  # core + semantic + episodic; or a plug-in's
    retrieval: str = "bm25"  # how items are found: bm25 | dense | hybrid | rerank | iterative | anchored | a plug-in's
    retrieval_options: dict[str, Any] = field(default_factory=dict)  # of that retrieval, e.g. {model: a model folder}
    wrappers: list[Any] = field(default_factory=list)  # over it: [decay, guard], [{wrapper: decay, strength: 20}], ...
    budget: int = 2048  # tokens the whole memory may hold
    core_budget: int = 512  # tokens the core paragraph may hold
    render_budget: int = 1024  # tokens of memory shown while reading a chunk
    retrieve_budget: int = 1024  # tokens of memory shown to the reader for a question
    search_budget: int = 256  # tokens of memory that come back for the searches of one turn (rollout.max_turns)
    max_calls: int = 32  # tool calls executed in one step; more are refused, each with its result


@dataclass
class RolloutConfig:
    engine: str = "transformers"  # transformers | vllm | a plug-in's
    workers: int = 0  # Ray actors that play episodes, each with an engine of its own; 0: in this process
    on_failure: str = "retry"  # of an episode: retry it | min_viable: go on without it | fail_fast: stop the run
    retries: int = 2  # retry: how often an episode is played again before it is removed
    max_staleness: int = 0  # versions: 0: rollout and learning take turns; k: rollouts run up to k steps ahead of it
    temperature: float = 1.0  # of training episodes; evaluations are greedy
    max_turns: int = 1  # completions a step may have; with more, the tool memory_search finds what is not in sight
    max_prompt_tokens: int = 6144  # a longer prompt stops the run; a later turn's holds the turns before
    max_completion_tokens: int = 2048  # of one turn; a call that is cut off there fails
    max_batch: int = 64  # requests generated together, and episodes that one Ray worker plays at once
    max_batch_tokens: int = 65536  # transformers: tokens that the cache of one batch may have room for, with padding
    share_prefixes: bool = True  # transformers: read what prompts begin with alike once, where the model can
    merge_adapters: bool = False  # transformers, float32: hold adapters merged into copies of the model: faster
    dialect: str = "hermes"  # how calls are written: a name, or auto: as the chat template teaches (docs/models.md)
    guided: str = (
        "off"  # json: the policy writes nothing but calls of its dialect, which is one of JSON (docs/models.md)
    )
    instruction: str | None = None  # system prompt while memorising; None: the built-in one
    example: bool = False  # show a worked example before the text: for models that make no calls unless they see one
    step_timeout: float = 600.0  # seconds that one completion may take, waiting for its turn included
    episode_timeout: float = 1800.0  # seconds
    max_failure_rate: float = 0.25  # share of a step's episodes that may fail before the run stops
    refill_rounds: int = 1  # how often groups that teach nothing are replaced by fresh streams in one step


@dataclass
class VllmConfig:
    gpu_memory_utilization: float = 0.85  # share of each GPU's memory, for weights and cache
    tensor_parallel_size: int = 1  # GPUs of one engine
    sleep: bool = False  # engine and learner take turns on one GPU: the engine's memory is given up while learning
    enforce_eager: bool = False  # no CUDA graphs: slower, starts sooner and takes less memory
    options: dict[str, Any] = field(default_factory=dict)  # further arguments of vLLM's engine, by vLLM's names


@dataclass
class EndpointConfig:
    url: str | None = None  # of an OpenAI-compatible server, up to and with /v1
    model: str | None = None  # as the server calls it
    api_key_env: str | None = None  # NAME of the environment variable that holds the key; null: the server wants none
    max_concurrency: int = 32  # requests at once, of each process that asks (each Ray worker is one)
    timeout: float = 60.0  # seconds for one request and the whole of its reply
    retries: int = 8  # further requests when one fails; with growing pauses, about 35 s of an endpoint that is down
    cache: bool = True  # keep answers on disk, and ask nothing twice
    cache_dir: str | None = None  # null: <run.dir>/reader-cache; runs and hosts may share one


@dataclass
class ReaderConfig:
    type: str = "policy-base"  # policy-base | lexical | endpoint | a plug-in's
    max_prompt_tokens: int = 6144  # instruction, memory and question together
    max_tokens: int = 64  # of one answer
    instruction: str | None = None  # None: the built-in one
    quoted: bool = True  # mark the memory as quoted data, which gives no orders; costs some 60 tokens a question
    endpoint: EndpointConfig = field(default_factory=EndpointConfig)


@dataclass
class JudgeConfig:
    type: str = "none"  # none | policy-base (the policy's base model) | endpoint
    answers: dict[str, str] = field(default_factory=dict)  # whose answers it grades, by which rubric: {source: rubric}
    votes: int = 1  # verdicts of one thing, of which most decide; odd
    max_tokens: int = 256  # of one verdict with its reason
    canary_every: int = 10  # trainer steps between checks of the judge by cases whose verdict is known; 0: at the start
    endpoint: EndpointConfig = field(default_factory=EndpointConfig)


@dataclass
class RewardConfig:
    preset: str = "default"  # default | memalpha
    weights: dict[str, float] = field(default_factory=dict)  # overrides of the preset's weights, by part
    parts: dict[str, Any] = field(default_factory=dict)  # further parts, by name: {import_path, weight, its options}
    content: str = "none"  # what pays the content part: none | lexical (words, without a model) | judge
    alarms: dict[str, float] = field(default_factory=dict)  # overrides of the meters' alarms, by meter; 1e9: none
    on_alarm: str = "warn"  # when a step's meter is above its alarm: warn | stop the run


@dataclass
class AdvantageConfig:
    mode: str = "episode"  # episode | evidence | counterfactual | retrieved | reroll | pooled | a plug-in's
    spill: float = 0.2  # evidence, retrieved: share of an answer's credit that later steps, which could lose it, get
    uniform_share: float = (
        0.2  # retrieved: share of an answer's credit that all steps get, whoever wrote what was shown
    )
    counterfactual_steps: int | None = None  # counterfactual: at most so many steps are left out, one by one
    rerolls: int = 2  # reroll: other completions of a step, from the same memory; each is a sample too
    reroll_steps: int | None = None  # reroll: at most so many steps of an episode, drawn by chance; null: all of them
    normalize_std: bool = True  # divide by the group's standard deviation
    normalize_parts: bool = (
        False  # give each reward part a spread of 1 before it is weighted; then all samples together
    )
    min_spread: float = 1e-6  # groups whose rewards spread less are dropped


@dataclass
class LossConfig:
    type: str = "dapo"  # grpo | dapo | dr_grpo | gspo | cispo | a plug-in's
    clip_low: float = 0.2  # the ratio to the policy at the step's beginning counts down to 1 - this
    clip_high: float = 0.28  # and up to 1 + this
    kl: float = 0.0  # coefficient of the KL to the base model
    importance_cap: float = 2.0  # truncation of the sampling/learner ratio


@dataclass
class TrainConfig:
    steps: int = 100  # trainer steps: one rollout and one turn of learning each
    group_size: int = 8  # episodes of one stream, which are compared with each other
    streams_per_step: int = 4  # groups of one trainer step
    lr: float = 1e-5  # learning rate at its highest
    schedule: str = "constant_with_warmup"  # a name in memrl.config.check.SCHEDULES
    warmup_steps: int = 0  # optimizer steps in which the learning rate rises to `lr`
    weight_decay: float = 0.0  # AdamW's
    max_grad_norm: float = 1.0  # a longer gradient is cut to this norm
    max_idle_steps: int = 10  # steps in a row in which no group taught anything, until the run stops; 0: never
    updates_per_step: int = 1  # optimizer steps on one batch of samples (it is split into as many parts)
    micro_batch_tokens: int = 4096  # padded tokens in one forward pass of the learner
    share_prefixes: bool = True  # read what samples begin with alike once, where the model can (not with fsdp)
    gradient_checkpointing: bool = False  # compute activations twice, to hold fewer of them
    processes: int = 1  # that learn together, by way of Ray, each with its own samples; 1: in this process
    parallel: str = "ddp"  # several processes: ddp: each holds the whole model | fsdp: they share its layers out


@dataclass
class EvalConfig:
    streams: int = 64  # held-out streams of one evaluation, the first of `data.eval`
    every: int = 10  # trainer steps between evaluations; also before the first and after the last; 0: only those two
    target: float | None = None  # end the run at the first evaluation whose held-out QA accuracy reaches this
    embedder: str = "sentence-transformers/all-MiniLM-L6-v2"  # of dense and hybrid: a model folder, or a hub name
    seed: int = 1_000_003  # of the evaluation streams' generator; the same for every run seed


@dataclass
class SftConfig:
    steps: int = 200  # optimizer steps
    batch_size: int = 16  # demonstrations of one step
    micro_batch_tokens: int = 4096  # padded tokens in one forward pass; a step adds up the gradients of several
    lr: float = 1e-4  # learning rate at its highest
    streams: int = 256  # streams that the teacher demonstrates
    max_length: int = 2048  # tokens of one demonstration; longer ones are left out
    dir: str | None = None  # where the warm-started model goes; default: <run.dir>/model
    lora: bool = False  # train an adapter instead of all weights; either is learned in float32, whatever model.dtype is
    save_every: int = 50  # checkpoint each N optimizer steps, from which --resume goes on; 0: none
    teacher: str = "careless"  # careless: by chance | words: what notes and evidence name | endpoint | episodes
    answers: bool = True  # teach the reader's job too: to answer, over a memory that holds a part of a stream
    episodes: str | None = None  # teacher episodes: the run whose saved episodes are shown (--from)
    best: float = 0.25  # teacher episodes: share of each group that is shown, of those paid above its mean (--best)
    max_tokens: int = 1024  # teacher endpoint: of one reply
    endpoint: EndpointConfig = field(default_factory=EndpointConfig)  # teacher endpoint: who writes the calls


@dataclass
class RayConfig:
    address: str | None = None  # null: start Ray here; auto: the cluster this machine belongs to; or host:port
    worker_cpus: float = 1.0  # of each rollout worker
    worker_gpus: float = 0.0  # of each rollout worker; a fraction lets several share one
    learner_cpus: float = 1.0  # of each learner process that Ray places
    learner_gpus: float = (
        0.0  # of each learner process: 1 on GPUs; beside workers a single one too, which Ray then places
    )
    placement: str = "any"  # of rollout workers: any, or a placement group: pack | spread | strict_pack | strict_spread
    start_timeout: float = 120.0  # seconds until at least one worker, or all learner processes, must be up
    hang_grace: float = 60.0  # seconds in which a worker must answer before it is replaced


@dataclass
class Config:
    seed: int = 0  # of everything that is drawn: data, sampling, adapters, order
    run: RunConfig = field(default_factory=RunConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    memory: MemoryConfig = field(default_factory=MemoryConfig)
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    vllm: VllmConfig = field(default_factory=VllmConfig)
    reader: ReaderConfig = field(default_factory=ReaderConfig)
    judge: JudgeConfig = field(default_factory=JudgeConfig)
    rewards: RewardConfig = field(default_factory=RewardConfig)
    advantage: AdvantageConfig = field(default_factory=AdvantageConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    eval: EvalConfig = field(default_factory=EvalConfig)
    sft: SftConfig = field(default_factory=SftConfig)
    ray: RayConfig = field(default_factory=RayConfig)
