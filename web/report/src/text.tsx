// Texts of others. Each is put in as text, never as markup, isolated from what stands around it (`bdi`), and control
// characters are shown by their pictures, one for one, so that offsets stay right.
import { useState } from "preact/hooks";

const SHORT = 2_000; // characters of a text before one asks for the rest
const MOST = 200_000; // characters that are ever put into the page at once

// eslint-disable-next-line no-control-regex
const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f]/g;

export function shown(text: string): string {
  return text.replace(CONTROL, (one) => (one === "\u007f" ? "\u2421" : String.fromCharCode(0x2400 + one.charCodeAt(0))));
}

/** A short text: a name, an id, a word. */
export function T({ children, className }: { children: string; className?: string }) {
  const text = children.length > SHORT ? `${children.slice(0, SHORT)}…` : children;
  return <bdi class={className}>{shown(text)}</bdi>;
}

export type Mark = { start: number; end: number; id: string; lit: boolean; title: string };

/** A text of any length, with spans marked. Offsets are code points, as in Python. */
export function Long({ text, marks = [], className = "" }: { text: string; marks?: Mark[]; className?: string }) {
  const [all, set] = useState(false);
  if (text === "") return <p class="nothing">nothing</p>;
  const long = text.length > SHORT * 1.2;
  const reach = all ? MOST : Math.max(SHORT, ...marks.filter((mark) => mark.lit).map((mark) => mark.end + 200));
  const part = long && text.length > reach ? text.slice(0, reach) : text;
  return (
    <div class={`text ${className}`}>
      <bdi>{marks.length ? marked(part, text, marks) : shown(part)}</bdi>
      {part.length < text.length && (
        <>
          <span aria-hidden="true">… </span>
          {!all && (
            <button class="more" onClick={() => set(true)}>
              show all {text.length.toLocaleString("en")} characters
            </button>
          )}
          {all && <span class="faint">the first {MOST.toLocaleString("en")} characters are shown</span>}
        </>
      )}
    </div>
  );
}

function marked(part: string, whole: string, marks: Mark[]) {
  // eslint-disable-next-line no-control-regex
  const wide = /[\ud800-\udfff]/.test(whole);
  const at = wide ? places(whole) : null;
  const place = (offset: number) => (at ? (at[offset] ?? -1) : offset <= whole.length ? offset : -1);
  const found = [];
  let done = 0;
  for (const mark of [...marks].sort((a, b) => a.start - b.start || Number(b.lit) - Number(a.lit))) {
    const start = place(mark.start);
    const end = place(mark.end);
    if (start < done || end <= start || end > part.length) continue;
    found.push(shown(part.slice(done, start)));
    found.push(
      <mark key={mark.id} data-sentence={mark.id} class={mark.lit ? "lit" : ""} title={mark.title}>
        {shown(part.slice(start, end))}
      </mark>,
    );
    done = end;
  }
  found.push(shown(part.slice(done)));
  return found;
}

function places(text: string): number[] {
  const found: number[] = [];
  for (let index = 0; index < text.length; index++) {
    found.push(index);
    const code = text.charCodeAt(index);
    if (code >= 0xd800 && code < 0xdc00) index++;
  }
  found.push(text.length);
  return found;
}

/** What changed from one text to another, by words. */
export function Diff({ before, after }: { before: string; after: string }) {
  const [old, now] = [words(before), words(after)];
  if (old.length * now.length > 160_000) {
    return (
      <div class="text">
        <del>
          <bdi>{shown(before.slice(0, SHORT))}</bdi>
        </del>{" "}
        <ins>
          <bdi>{shown(after.slice(0, SHORT))}</bdi>
        </ins>
      </div>
    );
  }
  return (
    <div class="text">
      <bdi>
        {pieces(old, now).map(([kind, text], place) =>
          kind === "-" ? (
            <del key={place}>{shown(text)}</del>
          ) : kind === "+" ? (
            <ins key={place}>{shown(text)}</ins>
          ) : (
            shown(text)
          ),
        )}
      </bdi>
    </div>
  );
}

function words(text: string): string[] {
  return text.match(/\s+|[^\s]+/g) ?? [];
}

/** Pieces of two lists of words by their longest common subsequence. */
function pieces(old: string[], now: string[]): [string, string][] {
  const [n, m] = [old.length, now.length];
  const table = new Uint16Array((n + 1) * (m + 1));
  for (let i = n - 1; i >= 0; i--)
    for (let j = m - 1; j >= 0; j--)
      table[i * (m + 1) + j] =
        old[i] === now[j]
          ? 1 + table[(i + 1) * (m + 1) + j + 1]!
          : Math.max(table[(i + 1) * (m + 1) + j]!, table[i * (m + 1) + j + 1]!);
  const found: [string, string][] = [];
  const add = (kind: string, text: string) => {
    const last = found[found.length - 1];
    if (last && last[0] === kind) last[1] += text;
    else found.push([kind, text]);
  };
  let [i, j] = [0, 0];
  while (i < n || j < m) {
    if (i < n && j < m && old[i] === now[j]) {
      add("=", old[i]!);
      i++;
      j++;
    } else if (i < n && (j >= m || table[(i + 1) * (m + 1) + j]! >= table[i * (m + 1) + j + 1]!)) add("-", old[i++]!);
    else add("+", now[j++]!);
  }
  return found;
}

// Figures ----------------------------------------------------------------------------------------------------------

export function figure(value: number | null | undefined): string {
  if (value === null || value === undefined) return "–";
  if (value < 0) return `−${figure(-value)}`;
  const size = value;
  if (Number.isInteger(value) && size < 1e15) return value.toLocaleString("en");
  if (size >= 1000) return Math.round(value).toLocaleString("en");
  if (size >= 100) return value.toFixed(1);
  if (size >= 1 || size === 0) return value.toFixed(2);
  return size >= 0.0005 ? value.toFixed(3) : value.toExponential(1);
}

export function score(value: number | null | undefined): string {
  return value === null || value === undefined ? "–" : value.toFixed(2);
}

export function signed(value: number): string {
  return `${value < 0 ? "−" : "+"}${figure(Math.abs(value))}`;
}

export function interval(one: { value: number; low: number | null; high: number | null } | null): string {
  if (!one) return "–";
  return one.low === null || one.high === null
    ? score(one.value)
    : `${score(one.value)} (${score(one.low)} to ${score(one.high)})`;
}

export function count(number: number, one: string, many = `${one}s`): string {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}
