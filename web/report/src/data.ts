// Reads the records of the report. Each is a script that calls `memrlData(name, record)`: a page that is opened from
// the disk may load scripts and nothing else. A name is followed only if it is one of the report's own files.
// What every view needs, the runs, the page's document loads itself, while it loads this script.
import { useEffect, useLayoutEffect, useState } from "preact/hooks";
import { FORMAT, type IndexRecord, type RunRecord } from "./records";

const NAME = /^[A-Za-z0-9_-][A-Za-z0-9._-]*(\/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$/;
const KEPT = 48; // records; an episode of 24 chunks and 100 questions has about 100 kB
const BIG = 4; // of `search` and `wrong`, which may have megabytes

type Waiting = { done: (record: unknown) => void; promise: Promise<unknown> };
const waiting = new Map<string, Waiting>();
const kept = new Map<string, unknown>();

declare global {
  interface Window {
    memrlData: (name: string, record: unknown) => void;
  }
}

let begun = false;

window.memrlData = (name, record) => {
  const asked = waiting.get(name);
  if (asked) asked.done(record);
  else if (!begun) keep(name, record);
};

export class Missing extends Error {}

function read(name: string, fresh: boolean): Promise<unknown> {
  const before = waiting.get(name);
  if (before) return before.promise;
  let done!: (record: unknown) => void;
  const promise = new Promise<unknown>((resolve, reject) => {
    const script = document.createElement("script");
    let found = false;
    let value: unknown;
    done = (record) => {
      found = true;
      value = record;
    };
    const end = (error?: Error) => {
      script.remove();
      waiting.delete(name);
      if (found) resolve(value);
      else reject(error ?? new Missing(`data/${name}.js does not hold this record: write the report again.`));
    };
    script.onload = () => end();
    script.onerror = () => end(new Missing(`data/${name}.js is not there: it was left out of this report, or removed.`));
    script.src = `data/${name}.js${fresh ? `?t=${Date.now()}` : ""}`;
    document.head.append(script);
  });
  waiting.set(name, { done, promise });
  return promise;
}

function keep(name: string, record: unknown): void {
  kept.delete(name);
  kept.set(name, record);
  const bigs = [...kept.keys()].filter((key) => /\/(search|wrong)$/.test(key));
  for (const key of bigs.slice(0, Math.max(0, bigs.length - BIG))) kept.delete(key);
  for (const key of kept.keys()) {
    if (kept.size <= KEPT) break;
    if (key !== "index" && !key.endsWith("/overview")) kept.delete(key);
  }
}

/** Load a record; `once`: do not keep it. */
export async function load<T>(name: string, options: { fresh?: boolean; once?: boolean } = {}): Promise<T> {
  if (name.length > 300 || !NAME.test(name)) throw new Missing("This link names no file of the report.");
  if (!options.fresh && kept.has(name)) {
    const record = kept.get(name);
    keep(name, record);
    return record as T;
  }
  const record = await read(name, options.fresh ?? false);
  if (!options.once) keep(name, record);
  return record as T;
}

export type Loaded<T> = { record: T | null; fault: string; reading: boolean };

/** A record for a view; the one of before stays until the new one is there. */
export function useRecord<T>(name: string | null | undefined): Loaded<T> {
  const here = name && kept.has(name) ? (kept.get(name) as T) : null;
  const [found, set] = useState<{ name: string; record: T | null; fault: string }>({ name: "", record: null, fault: "" });
  useEffect(() => {
    if (!name) return;
    let wanted = true;
    load<T>(name).then(
      (record) => wanted && set({ name, record, fault: "" }),
      (error: Error) => wanted && set({ name, record: null, fault: error.message }),
    );
    return () => {
      wanted = false;
    };
  }, [name]);
  if (!name) return { record: null, fault: "", reading: false };
  if (found.name === name) return { record: found.record, fault: found.fault, reading: false };
  return { record: here, fault: "", reading: here === null };
}

// The runs, which a live run changes -------------------------------------------------------------------------------

export type Runs = { index: IndexRecord | null; runs: Map<string, RunRecord>; fault: string; changed: number };

let state: Runs = { index: null, runs: new Map(), fault: "", changed: 0 };
const watchers = new Set<(runs: Runs) => void>();

function set(next: Partial<Runs>): void {
  state = { ...state, ...next, changed: state.changed + 1 };
  for (const watcher of watchers) watcher(state);
}

async function refresh(first: boolean): Promise<void> {
  try {
    const before = state.index;
    const index = await load<IndexRecord>("index", { fresh: !first });
    if (index.format !== FORMAT) {
      set({ fault: `This report is of format ${index.format}, and its page reads ${FORMAT}: write it again.` });
      return;
    }
    if (first || before?.updated !== index.updated || before?.live !== index.live) {
      const runs = new Map(state.runs);
      if (first) set({ index });
      for (const row of index.runs) {
        const old = before?.runs.find((one) => one.run === row.run);
        if (!first && runs.has(row.run) && old && old.step === row.step && old.state === row.state && index.live === null)
          continue;
        runs.set(row.run, await load<RunRecord>(row.overview, { fresh: !first }));
      }
      set({ index, runs, fault: "" });
    }
    if (index.live !== null) setTimeout(() => void refresh(false), Math.max(1, index.live) * 1000);
  } catch (error) {
    if (first) set({ fault: (error as Error).message });
    else setTimeout(() => void refresh(false), 10_000);
  }
}

export function useRuns(): Runs {
  const [runs, update] = useState(state);
  useLayoutEffect(() => {
    update(state);
    watchers.add(update);
    return () => {
      watchers.delete(update);
    };
  }, []);
  return runs;
}

export function start(): void {
  const begin = () => {
    begun = true;
    void refresh(true);
  };
  // By then the scripts of the document have run.
  if (document.readyState === "complete") begin();
  else document.addEventListener("DOMContentLoaded", begin, { once: true });
}
