// Keys of the report. A view gives those that it knows; they can be switched off, as WCAG 2.1.4 asks of single letters.
// Each acts on the view that the key before it has led to, however fast they are pressed.
import { useLayoutEffect } from "preact/hooks";
import { moved } from "./route";
import { recall, remember } from "./theme";

export const HELP: [string, string][] = [
  ["c, j", "next chunk"],
  ["C, k", "previous chunk"],
  ["q, Q", "next, previous question"],
  ["e, E", "next, previous episode"],
  ["g, G", "next, previous group"],
  ["s, S", "next, previous step (evaluation, or step of training)"],
  ["u", "up: from an episode to its group, from there to the list"],
  ["o", "overview"],
  ["w", "why wrong"],
  ["x", "compare"],
  ["/", "search"],
  ["d", "dark or light"],
  ["?", "this help"],
  ["Esc", "close"],
];

/** What keys do. Null: nothing here. Undefined: the view is still reading what it needs to know; the key waits for it. */
export type Keys = Record<string, (() => void) | null | undefined>;

const MOST_WAITING = 8;
const FIELDS = /^(INPUT|SELECT|TEXTAREA)$/;
const layers: { keys: Keys }[] = [];
let on = recall("keys") !== "off";
let waiting: string[] = [];
let acting = false;

export function keysOn(): boolean {
  return on;
}

export function switchKeys(to: boolean): void {
  on = to;
  remember("keys", to ? "on" : "off");
}

function meaning(key: string): (() => void) | null | undefined {
  const layer = [...layers].reverse().find(({ keys }) => key in keys);
  return layer ? layer.keys[key] : null;
}

function proceed(): void {
  if (acting) return;
  if (FIELDS.test(document.activeElement?.tagName ?? "")) waiting = waiting.filter((key) => key === "Escape");
  for (let key = waiting[0]; key !== undefined; key = waiting[0]) {
    const act = meaning(key);
    if (act === undefined) return;
    waiting.shift();
    if (act === null) continue;
    acting = true;
    try {
      act();
    } finally {
      // Preact draws what has changed in a microtask too, which stands before this one.
      queueMicrotask(() => {
        acting = false;
        proceed();
      });
    }
    return;
  }
}

window.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (event.key === "Escape") waiting = [];
  else if (!on || FIELDS.test((event.target as HTMLElement).tagName)) return;
  if (waiting.length === 0 && meaning(event.key) === null) return;
  event.preventDefault();
  if (waiting.length < (event.repeat ? 1 : MOST_WAITING)) waiting.push(event.key);
  moved();
  queueMicrotask(proceed);
});

window.addEventListener("pointerdown", () => {
  waiting = [];
});

export function useKeys(keys: Keys): void {
  useLayoutEffect(() => {
    const layer = { keys };
    layers.push(layer);
    queueMicrotask(proceed);
    return () => {
      layers.splice(layers.indexOf(layer), 1);
    };
  });
}
