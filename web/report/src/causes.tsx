// Causes of wrong answers: over steps as a picture, by kind as a table. Causes have numbers, which stand in the picture.
import type { CauseRecord, EvaluationRecord, RunRecord } from "./records";
import { go, link } from "./route";
import { T } from "./text";
import { Cause } from "./parts";

const HIGH = 190;
const LEFT = 34;
const FOOT = 22;

export function told(run: RunRecord): EvaluationRecord[] {
  return run.evaluations.filter((one) => one.causes !== null);
}

export function total(causes: Record<string, number> | null): number {
  return Object.values(causes ?? {}).reduce((sum, one) => sum + one, 0);
}

/** Stacks over steps; a click goes to the answers. */
export function Stacks({ run, width, chosen, only }: { run: RunRecord; width: number; chosen?: number; only?: string }) {
  const evaluations = told(run);
  if (evaluations.length === 0) return <p class="nothing">No evaluation has kept its episodes.</p>;
  const most = Math.max(1, ...evaluations.map((one) => total(one.causes)));
  const room = (width - LEFT) / evaluations.length;
  const bar = Math.max(1, Math.min(64, room * (room > 8 ? 0.72 : 0.94)));
  const unit = (HIGH - FOOT - 8) / most;
  const every = Math.ceil(evaluations.length / Math.max(1, Math.floor((width - LEFT) / 42)));
  const words = evaluations.map((one) => `step ${one.step}: ${total(one.causes)}`);
  const told_ = words.length > 12 ? `${words[0]}, …, ${words[words.length - 1]}` : words.join(", ");
  return (
    <svg
      class="stacks"
      role="img"
      aria-label={`Wrong answers by cause over steps; ${told_}. The table has all counts.`}
      width={width}
      height={HIGH}
      viewBox={`0 0 ${width} ${HIGH}`}
    >
      {[0, Math.round(most / 2), most].map((value) => (
        <g key={value}>
          <line class="hair" x1={LEFT} x2={width} y1={HIGH - FOOT - value * unit} y2={HIGH - FOOT - value * unit} />
          <text x={LEFT - 6} y={HIGH - FOOT - value * unit + 4} text-anchor="end">
            {value}
          </text>
        </g>
      ))}
      {evaluations.map((one, place) => {
        const left = LEFT + place * room + (room - bar) / 2;
        let floor = HIGH - FOOT;
        return (
          <g key={one.step} class={chosen !== undefined && chosen !== one.step ? "other" : ""}>
            {run.causes.map((cause, index) => {
              const number = one.causes?.[cause.key] ?? 0;
              if (number === 0) return null;
              const high = number * unit;
              floor -= high;
              return (
                <g
                  key={cause.key}
                  class={`stack ${only && only !== cause.key ? "other" : ""}`}
                  data-cause={cause.key}
                  data-step={one.step}
                  onClick={() => go(link("wrong", `${run.run}/held-out/${one.step}`, { cause: cause.key }))}
                >
                  <title>{`step ${one.step}: ${number} ${cause.label}`}</title>
                  <rect
                    class={`fill-${index + 1}`}
                    x={left}
                    y={floor + 0.75}
                    width={bar}
                    height={Math.max(0.5, high - 1.5)}
                    rx={bar > 12 ? 2 : 0}
                  />
                  {bar > 15 && high > 15 && (
                    <text class="in-bar" x={left + bar / 2} y={floor + high / 2 + 4} text-anchor="middle">
                      {index + 1}
                    </text>
                  )}
                </g>
              );
            })}
            {place % every === 0 && (
              <text class={chosen === one.step ? "now" : ""} x={left + bar / 2} y={HIGH - 6} text-anchor="middle">
                {one.step}
              </text>
            )}
          </g>
        );
      })}
    </svg>
  );
}

/** All counts over steps, for who reads no picture. */
export function StepTable({ run }: { run: RunRecord }) {
  return (
    <details class="as-table">
      <summary>As a table</summary>
      <div class="scroll" role="region" aria-label="Causes over steps" tabIndex={0}>
        <table>
          <thead>
            <tr>
              <th scope="col">Step</th>
              {run.causes.map((cause) => (
                <th scope="col" key={cause.key}>
                  <Cause causes={run.causes} cause={cause.key} />
                </th>
              ))}
              <th scope="col">all</th>
            </tr>
          </thead>
          <tbody>
            {told(run).map((one) => (
              <tr key={one.step} data-step={one.step}>
                <th scope="row">{one.step}</th>
                {run.causes.map((cause) => (
                  <td class="number" key={cause.key} data-cause={cause.key}>
                    <Count run={run} step={one.step} cause={cause.key} number={one.causes?.[cause.key] ?? 0} />
                  </td>
                ))}
                <td class="number">{total(one.causes)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </details>
  );
}

function Count({ run, step, cause, number, kind }: CountProps) {
  if (number === 0) return <span class="faint">0</span>;
  return <a href={link("wrong", `${run.run}/held-out/${step}`, { cause, kind })}>{number}</a>;
}

type CountProps = { run: RunRecord; step: number; cause: string; number: number; kind?: string };

/** Counts of one evaluation by cause, and of each cause by kind. */
export function KindTable({ run, evaluation, cause, kind }: KindProps) {
  const kinds = Object.keys(evaluation.causes_by_kind ?? {});
  const most = Math.max(1, ...Object.values(evaluation.causes ?? {}));
  const to = (words: Record<string, string>) => link("wrong", `${run.run}/held-out/${evaluation.step}`, words);
  return (
    <div class="scroll" role="region" aria-label="Wrong answers by cause and kind" tabIndex={0}>
      <table class="kinds">
        <thead>
          <tr>
            <th scope="col">Cause</th>
            <th scope="col" class="number">
              all
            </th>
            <th scope="col" class="wide">
              <span class="hidden">share</span>
            </th>
            {kinds.map((one) => (
              <th scope="col" class={`number ${kind === one ? "chosen" : ""}`} key={one}>
                <a href={to({ cause: cause ?? "", kind: kind === one ? "" : one })}>
                  <T>{one}</T>
                </a>
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {run.causes.map((one: CauseRecord, index) => {
            const number = evaluation.causes?.[one.key] ?? 0;
            return (
              <tr key={one.key} data-cause={one.key} class={cause === one.key ? "chosen" : ""}>
                <th scope="row">
                  <a
                    href={to({ cause: cause === one.key ? "" : one.key, kind: kind ?? "" })}
                    aria-current={cause === one.key ? "true" : undefined}
                  >
                    <Cause causes={run.causes} cause={one.key} />
                  </a>
                </th>
                <td class="number">{number}</td>
                <td class="wide" aria-hidden="true">
                  <span class={`bar fill-${index + 1}`} style={{ width: `${(100 * number) / most}%` }} />
                </td>
                {kinds.map((of) => (
                  <td class="number" key={of}>
                    <Count
                      run={run}
                      step={evaluation.step}
                      cause={one.key}
                      kind={of}
                      number={evaluation.causes_by_kind?.[of]?.[one.key] ?? 0}
                    />
                  </td>
                ))}
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}

type KindProps = { run: RunRecord; evaluation: EvaluationRecord; cause?: string; kind?: string };
