// The first view: where runs stand, what should be looked at, and every series over steps.
import { useEffect, useMemo, useState } from "preact/hooks";
import { Chart, type Line, summary } from "./chart";
import { Stacks, StepTable, told, total } from "./causes";
import { useRuns } from "./data";
import { Fault, Head, Loading, Panel, pathOf, places } from "./parts";
import type { BandRecord, IndexRecord, RunRecord, SeriesRecord } from "./records";
import { link } from "./route";
import { count, figure, interval, score, T } from "./text";

const GROUPS: [string, string][] = [
  ["held-out", "Held-out"],
  ["kinds", "Scores by kind of question"],
  ["reward", "Reward"],
  ["lengths", "Lengths"],
  ["tools", "Tool calls"],
  ["failures", "Failures"],
  ["staleness", "Staleness"],
  ["entropy", "Entropy"],
  ["clipping", "Clipping and distance"],
  ["meters", "Meters"],
  ["time", "Time by phase"],
  ["tokens", "Tokens"],
  ["cost", "Cost so far"],
];
const MAIN = "eval/qa";

export function Overview({ run: key }: { run: string }) {
  const { index, runs, fault } = useRuns();
  if (fault) return <Fault>{fault}</Fault>;
  if (!index) return <Loading />;
  if (!key && index.runs.length > 1) return <AllRuns index={index} runs={runs} />;
  const row = index.runs.find((one) => one.run === key) ?? (key ? undefined : index.runs[0]);
  if (!row) return <Fault>{`This report has no run ${key}.`}</Fault>;
  const run = runs.get(row.run);
  return run ? <OneRun run={run} many={index.runs.length > 1} /> : <Loading />;
}

export function useWidth(): [(box: HTMLDivElement | null) => void, number] {
  const [box, here] = useState<HTMLDivElement | null>(null);
  const [width, set] = useState(0);
  useEffect(() => {
    if (!box) return;
    const watch = new ResizeObserver((entries) => set(Math.floor(entries[0]!.contentRect.width)));
    watch.observe(box);
    return () => watch.disconnect();
  }, [box]);
  return [here, width];
}

function OneRun({ run, many }: { run: RunRecord; many: boolean }) {
  const main = run.series.find((one) => one.key === MAIN);
  const lines = useMemo(
    () => run.series.filter((one) => one.key !== MAIN).map((one): [string, Line] => [one.group, lineOf(one)]),
    [run.series],
  );
  const [box, width] = useWidth();
  const all = told(run);
  const line = useMemo(() => (main ? { ...lineOf(main), label: "mean score of a question", unit: "" } : null), [main]);
  return (
    <>
      <Head up={many ? [["All runs", link("")]] : []} title={<T>{run.folder}</T>}>
        <p class="facts">
          <span>
            <T>{run.state_in_words}</T>
          </span>
          {run.seed !== null && <span>seed {run.seed}</span>}
          <span>
            config <T>{run.name}</T>
          </span>
          <span>
            memrl <T>{run.version}</T>
          </span>
          <span>
            written <T>{run.updated.replace("T", " ").replace("+00:00", " UTC")}</T>
          </span>
        </p>
      </Head>
      <Alarms run={run} />
      <div class="two">
        <Panel
          title="Held-out accuracy"
          aside={
            <span>
              best <strong>{interval(run.best)}</strong>, last <strong>{interval(run.last)}</strong>
            </span>
          }
        >
          {line ? <Chart line={line} big /> : <p class="nothing">Nothing has been evaluated yet.</p>}
        </Panel>
        <Panel
          title="Why answers are wrong"
          aside={
            all.length > 0 && (
              <a href={link("wrong", `${run.run}/held-out/${all[all.length - 1]!.step}`)}>
                {count(total(all[all.length - 1]!.causes), "wrong answer")} at step {all[all.length - 1]!.step}
              </a>
            )
          }
        >
          <div ref={box}>{width > 0 && <Stacks run={run} width={width} />}</div>
          <Legend run={run} />
          <StepTable run={run} />
        </Panel>
      </div>
      <Evaluations run={run} />
      <Training run={run} />
      <AllSeries lines={lines} />
      <Settings run={run} />
    </>
  );
}

function Legend({ run }: { run: RunRecord }) {
  const seen = run.causes.filter((cause) => told(run).some((one) => one.causes?.[cause.key]));
  const last = told(run).at(-1);
  return (
    <ul class="legend">
      {seen.map((cause) => (
        <li key={cause.key}>
          <a class="cause-link" href={last && link("wrong", `${run.run}/held-out/${last.step}`, { cause: cause.key })}>
            <span class={`cause-number fill-${run.causes.indexOf(cause) + 1}`}>{run.causes.indexOf(cause) + 1}</span>{" "}
            <T>{cause.label}</T>
          </a>
        </li>
      ))}
    </ul>
  );
}

function Alarms({ run }: { run: RunRecord }) {
  if (run.alarms.length + run.damage.length === 0 && !run.left_out) return null;
  return (
    <section class="alarms" aria-label="What should be looked at">
      {run.alarms.map((alarm) => {
        const place = places(run).find((one) => one.step === alarm.step && one.part === "held-out");
        const kind = alarm.key.startsWith("kind:") ? alarm.key.slice(5) : "";
        return (
          <p class="alarm" key={alarm.key}>
            <span class="sign" aria-hidden="true">
              !
            </span>
            <span>
              <strong>Look at this: </strong>
              <T>{alarm.text}</T>
              {place && (
                <>
                  {" "}
                  <a href={link("wrong", pathOf(run.run, place), { kind })}>the wrong answers then</a>
                </>
              )}
            </span>
          </p>
        );
      })}
      {run.damage.map((text) => (
        <p class="alarm damage" key={text}>
          <span class="sign" aria-hidden="true">
            !
          </span>
          <span>
            <strong>Could not be read: </strong>
            <T>{text}</T>
          </span>
        </p>
      ))}
      {run.left_out && (
        <p class="faint">
          <T>{run.left_out}</T>
        </p>
      )}
    </section>
  );
}

function Evaluations({ run }: { run: RunRecord }) {
  if (run.evaluations.length === 0) return null;
  return (
    <Panel title="Evaluations" aside={<span class="faint">greedy, on streams that are never trained on</span>}>
      <div class="scroll tall" role="region" aria-label="Table of evaluations" tabIndex={0}>
        <table class="evaluations">
          <thead>
            <tr>
              <th scope="col">Step</th>
              <th scope="col" class="number">
                accuracy
              </th>
              {run.kinds.map((kind) => (
                <th scope="col" class="number" key={kind}>
                  <T>{kind}</T>
                </th>
              ))}
              <th scope="col" class="number">
                streams
              </th>
              <th scope="col" class="number">
                failed
              </th>
              <th scope="col">look at</th>
            </tr>
          </thead>
          <tbody>
            {run.evaluations.map((one) => (
              <tr key={one.step}>
                <th scope="row">{one.step}</th>
                <td class="number">{interval(one.qa)}</td>
                {run.kinds.map((kind) => (
                  <td class="number" key={kind}>
                    {score(one.kinds[kind])}
                  </td>
                ))}
                <td class="number">{one.streams}</td>
                <td class="number">{one.failures}</td>
                <td class="links">
                  {one.groups === null ? (
                    <span class="faint">not kept</span>
                  ) : (
                    <a class="to-groups" href={link("groups", `${run.run}/held-out/${one.step}`)}>
                      streams
                    </a>
                  )}
                  {one.wrong !== null && (
                    <a href={link("wrong", `${run.run}/held-out/${one.step}`)}>
                      {total(one.causes)} wrong
                    </a>
                  )}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Panel>
  );
}

function Training({ run }: { run: RunRecord }) {
  const steps = run.training.filter((one) => one.groups !== null);
  if (steps.length === 0) return null;
  return (
    <Panel title="Training episodes" aside={<span class="faint">sampled, several of a stream</span>}>
      <ul class="chips" aria-label="Training steps">
        {steps.map((one) => (
          <li key={one.step}>
            <a class="chip" href={link("groups", `${run.run}/training/${one.step}`)}>
              <span class="hidden">step </span>
              {one.step}
            </a>
          </li>
        ))}
      </ul>
    </Panel>
  );
}

function Settings({ run }: { run: RunRecord }) {
  const rows = Object.entries(run.settings);
  if (rows.length === 0) return null;
  return (
    <details class="panel settings">
      <summary>{count(rows.length, "setting")} of this run</summary>
      <dl>
        {rows.map(([key, value]) => (
          <div key={key}>
            <dt>
              <T>{key}</T>
            </dt>
            <dd>
              <T>{value}</T>
            </dd>
          </div>
        ))}
      </dl>
    </details>
  );
}

// Series -----------------------------------------------------------------------------------------------------------

function lineOf(one: SeriesRecord): Line {
  return { ...one, between: "95 % interval" };
}

function AllSeries({ lines }: { lines: [string, Line][] }) {
  const [asTable, set] = useState(false);
  const groups = GROUPS.map(([key, words]) => [words, lines.filter(([of]) => of === key).map(([, line]) => line)] as const);
  const known = new Set(GROUPS.map(([key]) => key));
  const others = lines.filter(([of]) => !known.has(of)).map(([, line]) => line);
  return (
    <Panel
      title="Everything over steps"
      className="series"
      aside={
        <button aria-pressed={asTable} onClick={() => set(!asTable)}>
          {asTable ? "as charts" : "as tables"}
        </button>
      }
    >
      {[...groups, ["Others", others] as const]
        .filter(([, some]) => some.length > 0)
        .map(([words, some]) => (
          <section class="series-group" key={words} aria-label={words}>
            <h3>{words}</h3>
            {asTable ? <SeriesTable lines={some} /> : <Charts lines={some} />}
          </section>
        ))}
    </Panel>
  );
}

function flat(line: Line): boolean {
  return line.values.every((value) => value === line.values[0]);
}

/** What never changes is said, not drawn. */
function Charts({ lines }: { lines: Line[] }) {
  const still = lines.filter(flat);
  return (
    <>
      <div class="charts">
        {lines
          .filter((line) => !flat(line))
          .map((line) => (
            <Chart key={line.key} line={line} />
          ))}
      </div>
      {still.length > 0 && (
        <p class="still">
          <span class="faint">unchanged: </span>
          {still.map((line, place) => (
            <span key={line.key} title={line.meaning}>
              {place > 0 && <span class="faint"> · </span>}
              <T>{line.label}</T> <strong>{figure(line.values[0])}</strong>
            </span>
          ))}
        </p>
      )}
    </>
  );
}

function SeriesTable({ lines }: { lines: Line[] }) {
  return (
    <div class="scroll" role="region" aria-label="Series" tabIndex={0}>
      <table>
        <thead>
          <tr>
            <th scope="col">series</th>
            <th scope="col">unit</th>
            <th scope="col">over steps</th>
            <th scope="col">meaning</th>
          </tr>
        </thead>
        <tbody>
          {lines.map((line) => (
            <tr key={line.key}>
              <th scope="row">
                <T>{line.label}</T>
              </th>
              <td>
                <T>{line.unit}</T>
              </td>
              <td>{summary(line)}</td>
              <td>
                <T>{line.meaning}</T>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

// Several runs -----------------------------------------------------------------------------------------------------

function AllRuns({ index, runs }: { index: IndexRecord; runs: Map<string, RunRecord> }) {
  const all = index.runs.map((row) => runs.get(row.run)).filter((run) => run !== undefined);
  const band = useMemo(() => (index.band ? bandLine(index.band) : null), [index.band]);
  const lines = useMemo(() => together(all), [all.length, index.updated]);
  return (
    <>
      <Head up={[]} title={<T>{index.title}</T>}>
        <p class="facts">
          <span>{count(index.runs.length, "run")}</span>
          <span>lines are means over runs; the band is from the least to the most of them</span>
        </p>
      </Head>
      <div class="two">
        <Panel
          title="Held-out accuracy"
          aside={<span class="faint">mean of {count(index.band?.runs.length ?? 0, "run")}; darker: 95 % t interval, lighter: least to most</span>}
        >
          {band ? <Chart line={band} big /> : <p class="nothing">These runs have no evaluation in common.</p>}
        </Panel>
        <Panel title="Runs">
          <div class="scroll" role="region" aria-label="Table of runs" tabIndex={0}>
            <table class="runs">
              <thead>
                <tr>
                  <th scope="col">Run</th>
                  <th scope="col">state</th>
                  <th scope="col" class="number">
                    step
                  </th>
                  <th scope="col" class="number">
                    best
                  </th>
                  <th scope="col" class="number">
                    last
                  </th>
                  <th scope="col" class="number">
                    alarms
                  </th>
                </tr>
              </thead>
              <tbody>
                {index.runs.map((row) => (
                  <tr key={row.run}>
                    <th scope="row">
                      <a href={link("run", row.run)}>
                        <T>{row.folder}</T>
                      </a>{" "}
                      <span class="faint">
                        <T>{row.name}</T>
                        {row.seed !== null && `, seed ${row.seed}`}
                      </span>
                    </th>
                    <td>{row.state}</td>
                    <td class="number">
                      {row.step}
                      {row.steps !== null && ` of ${row.steps}`}
                    </td>
                    <td class="number">{interval(row.best)}</td>
                    <td class="number">{interval(row.last)}</td>
                    <td class="number">{row.alarms}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
          {all
            .filter((run) => run.alarms.length > 0)
            .map((run) => (
              <Alarms key={run.run} run={run} />
            ))}
        </Panel>
      </div>
      <AllSeries lines={lines} />
    </>
  );
}

function bandLine(band: BandRecord): Line {
  const { steps, mean, low, high, least, most } = band;
  const outer = { low: least, high: most, words: "least to most" };
  const words = { key: MAIN, label: "mean score of a question", unit: "", meaning: "Mean over runs." };
  return { ...words, steps, values: mean, low, high, between: "95 % t interval over runs", outer };
}

/** Each series that all runs have, at the steps that all have: mean, least, most. */
function together(runs: RunRecord[]): [string, Line][] {
  const first = runs[0];
  if (!first) return [];
  const found: [string, Line][] = [];
  for (const one of first.series) {
    if (one.key === MAIN) continue;
    const all = runs.map((run) => run.series.find((other) => other.key === one.key));
    if (!all.every((other) => other !== undefined)) continue;
    const maps = all.map((other) => new Map(other.steps.map((step, place) => [step, other.values[place]!])));
    const steps = one.steps.filter((step) => maps.every((map) => map.has(step)));
    if (steps.length === 0) continue;
    const rows = steps.map((step) => maps.map((map) => map.get(step)!));
    const values = rows.map((row) => row.reduce((sum, value) => sum + value, 0) / row.length);
    const [low, high] = [rows.map((row) => Math.min(...row)), rows.map((row) => Math.max(...row))];
    found.push([one.group, { ...one, steps, values, low, high, between: "least to most of the runs" }]);
  }
  return found;
}
