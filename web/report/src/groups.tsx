// The groups of a step: training, G episodes of a stream; an evaluation, one.
import { useMemo } from "preact/hooks";
import { useRecord, useRuns } from "./data";
import { useKeys } from "./keys";
import { Around, beside, Cause, Choice, Fault, Head, Loading, partInWords, pathOf, placeOf, places, StepChoice } from "./parts";
import type { GroupListRecord, GroupRow, RunRecord } from "./records";
import { go, link, type Route } from "./route";
import { count, score, T } from "./text";
import { Rows } from "./virtual";

export function useStep(route: Route) {
  const { runs, index, fault } = useRuns();
  const [key = "", part = "", step = ""] = route.path.split("/");
  const run = runs.get(key);
  const place = placeOf(run, part, Number(step));
  const none = fault || (index && !index.runs.some((one) => one.run === key) ? `This report has no run ${key}.` : "");
  const gone = run && !place ? `The episodes of ${partInWords(part, Number(step))} are not in this report.` : "";
  return { run, place, fault: none || gone };
}

export function crumbs(run: RunRecord, many: boolean): [string, string][] {
  return [...(many ? ([["All runs", link("")]] as [string, string][]) : []), [run.folder, link("run", run.run)]];
}

export function stepsAround(run: RunRecord, part: string, step: number, view: string): [string | undefined, string | undefined] {
  const same = places(run).filter((one) => one.part === part);
  const here = same.findIndex((one) => one.step === step);
  const [before, after] = [beside(same, here, -1), beside(same, here, 1)];
  return [before && link(view, pathOf(run.run, before)), after && link(view, pathOf(run.run, after))];
}

/** What a key does that goes to a place; `reading`: it is not known yet whether there is one. */
export function goTo(to: string | undefined, reading: boolean): (() => void) | null | undefined {
  return reading ? undefined : to ? () => go(to) : null;
}

export function Groups({ route }: { route: Route }) {
  const { run, place, fault } = useStep(route);
  const { index } = useRuns();
  const list = useRecord<GroupListRecord>(place?.groups);
  const [before, after] = run && place ? stepsAround(run, place.part, place.step, "groups") : [];
  const reading = !fault && !run;
  useKeys({ s: goTo(after, reading), S: goTo(before, reading), u: goTo(run && link("run", run.run), reading) });
  if (fault || list.fault) return <Fault>{fault || list.fault}</Fault>;
  if (!run || !place || !list.record) return <Loading />;
  return (
    <>
      <Head up={crumbs(run, (index?.runs.length ?? 0) > 1)} title={place.part === "held-out" ? `Evaluation at step ${place.step}` : `Training step ${place.step}`}>
        <div class="tools">
          <StepChoice run={run} place={place} view="groups" />
          <Around name="step" keys="s" before={before} after={after} />
          {place.wrong && <a href={link("wrong", pathOf(run.run, place))}>why wrong</a>}
          {place.search && <a href={link("search", pathOf(run.run, place))}>search</a>}
        </div>
      </Head>
      <List run={run} route={route} rows={list.record.groups} />
    </>
  );
}

function List({ run, route, rows }: { run: RunRecord; route: Route; rows: GroupRow[] }) {
  const words = { kind: route.get("kind"), source: route.get("source"), cause: route.get("cause"), result: route.get("result") };
  const pick = (key: string) => (value: string) => go(link("groups", route.path, { ...words, [key]: value }), true);
  const some = useMemo(
    () =>
      rows.filter(
        (row) =>
          (!words.kind || row.kinds.includes(words.kind)) &&
          (!words.source || row.source === words.source) &&
          (!words.cause || (row.causes[words.cause] ?? 0) > 0) &&
          (!words.result || (row.results[words.result] ?? 0) > 0),
      ),
    [rows, words.kind, words.source, words.cause, words.result],
  );
  const plain = (values: string[]): [string, string][] => [...new Set(values)].sort().map((one) => [one, one]);
  return (
    <section class="panel">
      <div class="filters">
        <Choice label="Kind of wrong answer" all="any" value={words.kind} pick={pick("kind")} options={plain(rows.flatMap((row) => row.kinds))} />
        <Choice label="Source" all="any" value={words.source} pick={pick("source")} options={plain(rows.map((row) => row.source))} />
        <Choice
          label="Cause"
          all="any"
          value={words.cause}
          pick={pick("cause")}
          options={run.causes.filter((one) => rows.some((row) => row.causes[one.key])).map((one) => [one.key, one.label])}
        />
        <Choice label="Tool result" all="any" value={words.result} pick={pick("result")} options={plain(rows.flatMap((row) => Object.keys(row.results)))} />
        <p class="found" role="status">
          {some.length} of {count(rows.length, "stream")}
        </p>
      </div>
      <Rows
        rows={some}
        label="Streams"
        height={[58, 92]}
        most={11}
        empty="No stream is left by these filters."
        row={(row) => (
          <a class="line group-line" href={link("group", row.group)}>
            <span class="line-name">
              <T className="ellipsis">{row.stream}</T>
              <span class="faint">
                <T>{row.source}</T>, {count(row.chunks, "chunk")}, {count(row.questions, "question")}
                {row.episodes.length > 1 && `, ${row.episodes.length} episodes`}
              </span>
            </span>
            <span class="line-figure">
              <span class="faint">accuracy</span> {score(row.qa)}
            </span>
            <span class="line-figure">
              <span class="faint">paid</span> {score(row.total)}
            </span>
            <span class="line-causes">
              {row.wrong === 0 && <span class="verdict right">✓ all right</span>}
              {run.causes
                .filter((one) => row.causes[one.key])
                .map((one) => (
                  <span class="with-count" key={one.key}>
                    <Cause causes={run.causes} cause={one.key} /> {row.causes[one.key]}
                  </span>
                ))}
            </span>
          </a>
        )}
      />
    </section>
  );
}
