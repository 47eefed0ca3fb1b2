// One small chart a series, so that no line has to be told from another by its colour. Those that are not in sight are
// not drawn yet.
import { useEffect, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import { figure, T } from "./text";
import { useTheme } from "./theme";

export type Line = {
  key: string;
  label: string;
  unit: string;
  meaning: string;
  steps: number[];
  values: number[];
  low: (number | null)[] | null;
  high: (number | null)[] | null;
  /** What `low` and `high` are, in words. */
  between: string;
  outer?: { low: number[]; high: number[]; words: string };
};

export function summary(line: Line): string {
  const { values, steps } = line;
  if (values.length === 0) return "no values";
  const [first, last] = [values[0]!, values[values.length - 1]!];
  if (values.length === 1) return `${figure(first)} at step ${steps[0]}`;
  const least = Math.min(...values);
  const most = Math.max(...values);
  return `from ${figure(first)} at step ${steps[0]} to ${figure(last)} at step ${steps[steps.length - 1]}; least ${figure(least)}, most ${figure(most)}`;
}

export function Chart({ line, big }: { line: Line; big?: boolean }) {
  const box = useRef<HTMLDivElement>(null);
  const dark = useTheme();
  const [near, setNear] = useState(false);
  const [at, setAt] = useState<number | null>(null);
  const height = big ? 230 : 104;
  useEffect(() => {
    const watch = new IntersectionObserver(
      (seen) => {
        if (seen.some((one) => one.isIntersecting)) {
          setNear(true);
          watch.disconnect();
        }
      },
      { rootMargin: "200px" },
    );
    if (box.current) watch.observe(box.current);
    return () => watch.disconnect();
  }, []);
  useEffect(() => {
    const element = box.current;
    if (!near || !element) return;
    const plot = new uPlot(options(line, element.clientWidth, height, setAt), table(line), element);
    const sized = new ResizeObserver(() => {
      if (element.clientWidth !== plot.width && element.clientWidth > 0)
        plot.setSize({ width: element.clientWidth, height });
    });
    sized.observe(element);
    return () => {
      sized.disconnect();
      plot.destroy();
    };
  }, [near, dark, line, height]);
  const last = line.values.length - 1;
  const place = at ?? last;
  const [low, high] = [line.low?.[place], line.high?.[place]];
  return (
    <figure class={`chart ${big ? "big" : ""}`} title={line.meaning}>
      <figcaption>
        <span class="chart-name">
          <T>{line.label}</T>
          {line.unit && line.unit !== "value" && line.unit !== "count" && <span class="faint"> {line.unit}</span>}
        </span>
        <span class="chart-now">
          <span class="faint">step {line.steps[place] ?? "–"}</span> <strong>{figure(line.values[place])}</strong>
          {low !== null && low !== undefined && high !== null && high !== undefined && (
            <span class="faint">
              {" "}
              {figure(low)} to {figure(high)}
            </span>
          )}
        </span>
      </figcaption>
      <div
        ref={box}
        class="plot"
        style={{ height: `${height}px` }}
        role="img"
        aria-label={`${line.label}: ${summary(line)}`}
      />
    </figure>
  );
}

function table(line: Line): uPlot.AlignedData {
  const none = line.steps.map(() => null);
  return [
    line.steps,
    line.values,
    line.low ?? none,
    line.high ?? none,
    line.outer?.low ?? none,
    line.outer?.high ?? none,
  ] as uPlot.AlignedData;
}

function options(line: Line, width: number, height: number, hover: (place: number | null) => void): uPlot.Options {
  const style = getComputedStyle(document.documentElement);
  const of = (name: string) => style.getPropertyValue(name).trim();
  const edge = { stroke: "transparent", width: 0, points: { show: false } };
  const axis = {
    stroke: of("--faint"),
    font: `11px ${of("--sans")}`,
    grid: { stroke: of("--hair"), width: 1 },
    ticks: { show: false },
  };
  const plain = (value: number) => figure(Math.round(value * 1e6) / 1e6);
  return {
    width,
    height,
    padding: [8, 10, 0, 0],
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false }, points: { size: 6 } },
    scales: { x: { time: false, range: (_, least, most) => (least === most ? [least - 1, most + 1] : [least, most]) } },
    axes: [
      { ...axis, size: 24, gap: 4, space: 46, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 1e5] },
      { ...axis, size: 46, gap: 4, space: 30, values: (_, splits) => splits.map(short(plain)) },
    ],
    bands: [
      { series: [5, 4], fill: of("--band-outer") },
      { series: [3, 2], fill: of("--band") },
    ],
    series: [
      {},
      { stroke: of("--accent"), width: 1.8, points: { show: line.steps.length < 40, size: 5, fill: of("--accent") } },
      edge,
      edge,
      edge,
      edge,
    ],
    hooks: { setCursor: [(plot) => hover(plot.cursor.idx ?? null)] },
  };
}

function short(plain: (value: number) => string): (value: number) => string {
  return (value) => {
    const size = Math.abs(value);
    if (size >= 1e9) return `${+(value / 1e9).toFixed(1)}G`;
    if (size >= 1e6) return `${+(value / 1e6).toFixed(1)}M`;
    if (size >= 1e4) return `${+(value / 1e3).toFixed(1)}k`;
    return size < 1 && size > 0 ? String(+value.toPrecision(2)) : plain(value);
  };
}
