// Written by records.py from memrl/look/records.py. Change that, then `make page`.

export const FORMAT = 3;

export interface IntervalRecord {
  value: number;
  low: number | null;
  high: number | null;
}

export interface SeriesRecord {
  key: string;
  group: string;
  label: string;
  unit: string;
  meaning: string;
  steps: number[];
  values: number[];
  low: (number | null)[] | null;
  high: (number | null)[] | null;
}

export interface AlarmRecord {
  key: string;
  text: string;
  step: number | null;
}

export interface EvaluationRecord {
  step: number;
  qa: IntervalRecord | null;
  kinds: Record<string, number>;
  streams: number;
  failures: number;
  causes: Record<string, number> | null;
  causes_by_kind: Record<string, Record<string, number>> | null;
  groups: string | null;
  wrong: string | null;
  search: string | null;
}

export interface TrainingRecord {
  step: number;
  groups: string | null;
  wrong: string | null;
  search: string | null;
}

export interface RunRecord {
  format: number;
  run: string;
  name: string;
  folder: string;
  seed: number | null;
  state: "running" | "ended" | "stopped" | "damaged";
  state_in_words: string;
  step: number;
  steps: number | null;
  version: string;
  updated: string;
  damage: string[];
  alarms: AlarmRecord[];
  best: IntervalRecord | null;
  last: IntervalRecord | null;
  kinds: string[];
  sources: string[];
  causes: CauseRecord[];
  series: SeriesRecord[];
  evaluations: EvaluationRecord[];
  training: TrainingRecord[];
  streams: StreamPlace[];
  settings: Record<string, string>;
  left_out: string;
}

export interface CauseRecord {
  key: string;
  label: string;
}

export interface StreamPlace {
  stream: string;
  source: string;
  compare: string;
}

export interface IndexRecord {
  format: number;
  title: string;
  updated: string;
  live: number | null;
  runs: IndexRunRecord[];
  band: BandRecord | null;
}

export interface IndexRunRecord {
  run: string;
  name: string;
  folder: string;
  seed: number | null;
  state: "running" | "ended" | "stopped" | "damaged";
  step: number;
  steps: number | null;
  best: IntervalRecord | null;
  last: IntervalRecord | null;
  alarms: number;
  overview: string;
}

export interface BandRecord {
  runs: string[];
  steps: number[];
  mean: number[];
  low: (number | null)[];
  high: (number | null)[];
  least: number[];
  most: number[];
}

export interface GroupListRecord {
  run: string;
  part: "training" | "held-out";
  step: number;
  groups: GroupRow[];
}

export interface GroupRow {
  group: string;
  stream: string;
  source: string;
  episodes: string[];
  chunks: number;
  questions: number;
  qa: number;
  total: number;
  wrong: number;
  kinds: string[];
  causes: Record<string, number>;
  results: Record<string, number>;
}

export interface ChunkRecord {
  number: number;
  time: string | null;
  text: string;
  sentences: SentenceRecord[];
}

export interface SentenceRecord {
  start: number;
  end: number;
  questions: string[];
}

export interface QuestionRecord {
  id: string;
  kind: string;
  text: string;
  gold: string[];
  metric: string;
  evidence: number[] | null;
}

export interface GroupRecord {
  run: string;
  part: "training" | "held-out";
  step: number;
  number: number;
  stream: string;
  source: string;
  chunks: ChunkRecord[];
  questions: QuestionRecord[];
  episodes: EpisodeRow[];
  differ: number[];
  differ_questions: string[];
}

export interface EpisodeRow {
  episode: string;
  index: number;
  total: number;
  parts: Record<string, number>;
  memory_tokens: number;
  qa: number;
  advantages: (number | null)[];
  operations: string[][];
  scores: Record<string, number>;
}

export interface CallRecord {
  name: string;
  arguments: Record<string, string>;
  code: string;
  message: string;
  item: string | null;
  store: string | null;
  change: number | null;
}

export interface SentenceLink {
  chunk: number;
  start: number;
  end: number;
  text: string;
}

export interface ChangeRecord {
  op: "insert" | "update" | "delete";
  item: string;
  store: string | null;
  before: string | null;
  after: string | null;
  tokens: number | null;
  false: string;
  sentence: SentenceLink | null;
}

export interface TurnRecord {
  told: string;
  completion: string;
  stop: "stop" | "length";
  prompt_tokens: number;
  completion_tokens: number;
}

export interface StepRecord {
  chunk: number;
  seen: string;
  completion: string;
  stop: "stop" | "length";
  prompt_tokens: number;
  completion_tokens: number;
  memory_tokens: number;
  memory_tokens_before: number;
  turns: TurnRecord[];
  calls: CallRecord[];
  changes: ChangeRecord[];
  parts: Record<string, number>;
  advantage: number | null;
}

export interface ItemRecord {
  id: string;
  store: string | null;
  time: string | null;
  text: string;
  origin: OriginRecord | null;
}

export interface OriginRecord {
  step: number;
  change: number;
  first_step: number;
  first_change: number;
}

export interface ShownRecord {
  id: string;
  text: string;
  says_answer: boolean;
  taken: boolean;
}

export interface WhyRecord {
  cause: string;
  label: string;
  detail: string;
  item: string | null;
  step: number | null;
  sentence: SentenceLink | null;
}

export interface AnswerRow {
  question: string;
  kind: string;
  answer: string;
  score: number;
  right: boolean;
  metric: string;
  metric_score: number | null;
  verdict: VerdictRecord | null;
  shown: ShownRecord[];
  why: WhyRecord | null;
  evidence: SentenceLink[];
  prompt_tokens: number;
  completion_tokens: number;
}

export interface VerdictRecord {
  rubric: string;
  accepted: boolean;
  reason: string;
}

export interface EpisodeRecord {
  run: string;
  part: "training" | "held-out";
  step: number;
  group: string;
  index: number;
  version: number | null;
  seed: number;
  total: number;
  parts: Record<string, number>;
  meters: Record<string, number>;
  chunk_tokens: number;
  memory_tokens: number;
  instruction: string;
  reader: string;
  steps: StepRecord[];
  items: ItemRecord[];
  answers: AnswerRow[];
}

export interface WrongListRecord {
  run: string;
  part: "training" | "held-out";
  step: number;
  rows: WrongRow[];
}

export interface WrongRow {
  episode: string;
  question: string;
  text: string;
  kind: string;
  source: string;
  answer: string;
  gold: string;
  score: number;
  cause: string;
}

export interface SearchRecord {
  run: string;
  part: "training" | "held-out";
  step: number;
  texts: SearchTexts[];
}

export interface SearchTexts {
  at: string;
  what: "chunk" | "question" | "completion" | "item" | "answer";
  places: string[];
  texts: string[];
}

export interface CompareRecord {
  run: string;
  stream: string;
  source: string;
  chunks: string[];
  questions: QuestionRecord[];
  evaluations: CompareColumn[];
}

export interface CompareColumn {
  step: number;
  episode: string | null;
  qa: number;
  memory_tokens: number;
  kept: string[][];
  updated: number[];
  deleted: number[];
  failed: number[];
  answers: Record<string, CompareAnswer>;
}

export interface CompareAnswer {
  answer: string;
  score: number;
  cause: string | null;
}
