// What several views use: badges, filters, the steps of a run.
import type { ComponentChildren } from "preact";
import type { CauseRecord, RunRecord } from "./records";
import { go, link } from "./route";
import { T } from "./text";

export type Place = {
  part: "held-out" | "training";
  step: number;
  groups: string | null;
  wrong: string | null;
  search: string | null;
};

/** The steps of a run that have episodes, evaluations first. */
export function places(run: RunRecord | undefined): Place[] {
  if (!run) return [];
  return [
    ...run.evaluations.map((one) => ({ ...one, part: "held-out" as const })),
    ...run.training.map((one) => ({ ...one, part: "training" as const })),
  ].filter((one) => one.groups !== null);
}

export function placeOf(run: RunRecord | undefined, part: string, step: number): Place | undefined {
  return places(run).find((one) => one.part === part && one.step === step);
}

export function pathOf(run: string, place: Place): string {
  return `${run}/${place.part}/${place.step}`;
}

/** The next or previous one of a list, or nothing at its end. */
export function beside<V>(list: V[], here: number, by: number): V | undefined {
  return here < 0 ? undefined : list[here + by];
}

export function partInWords(part: string, step: number): string {
  return part === "held-out" ? `evaluation at step ${step}` : `training step ${step}`;
}

export function causeNumber(causes: CauseRecord[], key: string): number {
  return causes.findIndex((one) => one.key === key) + 1;
}

/** A cause in words, with its number; the colour is an addition. */
export function Cause({ causes, cause }: { causes: CauseRecord[]; cause: string }) {
  const number = causeNumber(causes, cause);
  return (
    <span class={`cause cause-${number}`}>
      <span class="cause-number" aria-hidden="true">
        {number || "?"}
      </span>
      <T>{causes[number - 1]?.label ?? cause}</T>
    </span>
  );
}

export function Right({ right }: { right: boolean }) {
  return right ? (
    <span class="verdict right">
      <span aria-hidden="true">✓ </span>right
    </span>
  ) : (
    <span class="verdict wrong">
      <span aria-hidden="true">✗ </span>wrong
    </span>
  );
}

export function Code({ code }: { code: string }) {
  return (
    <span class={`code ${code === "ok" ? "good" : "bad"}`}>
      <span aria-hidden="true">{code === "ok" ? "✓ " : "✗ "}</span>
      <T>{code}</T>
    </span>
  );
}

/** A bar to the right of the middle for more than 0, to the left for less; the figure stands beside it. */
export function Credit({ value, most, small }: { value: number | null; most: number; small?: boolean }) {
  if (value === null) return <span class="faint credit-none">no credit</span>;
  const share = most > 0 ? Math.min(1, Math.abs(value) / most) * 50 : 0;
  return (
    <span class={`credit ${small ? "small" : ""}`}>
      <span class="credit-bar" aria-hidden="true">
        <span
          class={value < 0 ? "less" : "more-than"}
          style={value < 0 ? { right: "50%", width: `${share}%` } : { left: "50%", width: `${share}%` }}
        />
      </span>
      <span class="number">
        {value < 0 ? "−" : "+"}
        {Math.abs(value).toFixed(2)}
      </span>
    </span>
  );
}

type ChoiceProps = {
  label: string;
  value: string;
  options: [string, string][];
  all?: string;
  pick: (value: string) => void;
};

export function Choice({ label, value, options, all, pick }: ChoiceProps) {
  return (
    <label class="choice">
      <span>{label}</span>
      <select value={value} onChange={(event) => pick(event.currentTarget.value)}>
        {all !== undefined && <option value="">{all}</option>}
        {options.map(([key, words]) => (
          <option key={key} value={key}>
            {words}
          </option>
        ))}
      </select>
    </label>
  );
}

/** Which step of the run one looks at. */
export function StepChoice({ run, place, view }: { run: RunRecord; place: Place; view: string }) {
  return (
    <Choice
      label="Step"
      value={pathOf(run.run, place)}
      options={places(run).map((one) => [pathOf(run.run, one), partInWords(one.part, one.step)])}
      pick={(to) => go(link(view, to))}
    />
  );
}

export function Fault({ children }: { children: string }) {
  return (
    <p class="fault" role="status">
      <strong>Not shown.</strong> <T>{children}</T>
    </p>
  );
}

export function Loading() {
  return (
    <p class="faint loading" role="status">
      Reading …
    </p>
  );
}

export function Panel({ title, aside, children, id, className = "" }: PanelProps) {
  return (
    <section class={`panel ${className}`} id={id} aria-label={title}>
      <div class="panel-head">
        <h2>{title}</h2>
        {aside && <div class="panel-aside">{aside}</div>}
      </div>
      {children}
    </section>
  );
}

type PanelProps = {
  title: string;
  aside?: ComponentChildren;
  children: ComponentChildren;
  id?: string;
  className?: string;
};

/** A switch that leaves out the rows of a table that are alike; `count` says how many differ. */
export function OnlyDiffering({ only, set, count }: { only: boolean; set: (only: boolean) => void; count?: string }) {
  return (
    <label>
      <input type="checkbox" checked={only} onChange={() => set(!only)} /> only where they differ{count && ` (${count})`}
    </label>
  );
}

/** The mark of a row whose sides differ. */
export function Differing() {
  return (
    <span class="differ">
      <span aria-hidden="true"> ≠ </span>differ
    </span>
  );
}

/** Where one is: links up, then the title. */
export function Head({ up, title, children }: { up: [string, string][]; title: ComponentChildren; children?: ComponentChildren }) {
  return (
    <div class="head">
      {up.length > 0 && (
        <nav class="crumbs" aria-label="Where this is">
          {up.map(([words, to]) => (
            <span key={to}>
              <a href={to}>
                <T>{words}</T>
              </a>{" "}
              <span aria-hidden="true">›</span>{" "}
            </span>
          ))}
        </nav>
      )}
      <h1 tabIndex={-1}>{title}</h1>
      {children}
    </div>
  );
}

/** Buttons to what comes before and after. */
export function Around({ name, keys, before, after }: AroundProps) {
  return (
    <span class="around" role="group" aria-label={name}>
      <Step to={before} words={`previous ${name}`} sign="‹" />
      <span>
        {name} <kbd aria-hidden="true">{keys}</kbd>
      </span>
      <Step to={after} words={`next ${name}`} sign="›" />
    </span>
  );
}

type AroundProps = { name: string; keys: string; before: string | undefined; after: string | undefined };

function Step({ to, words, sign }: { to: string | undefined; words: string; sign: string }) {
  return to ? (
    <a class="step" href={to} aria-label={words}>
      {sign}
    </a>
  ) : (
    <span class="step off" aria-hidden="true">
      {sign}
    </span>
  );
}
