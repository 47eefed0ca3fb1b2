// Keys of the report. A view gives those that it knows; they can be switched off, as WCAG 2.1.4 asks of single letters.
import { useEffect } from "preact/hooks";
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

export type Keys = Record<string, (() => void) | null | undefined>;

const layers: { keys: Keys }[] = [];
let on = recall("keys") !== "off";

export function keysOn(): boolean {
  return on;
}

export function switchKeys(to: boolean): void {
  on = to;
  remember("keys", to ? "on" : "off");
}

window.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  const target = event.target as HTMLElement;
  if (event.key !== "Escape" && (!on || /^(INPUT|SELECT|TEXTAREA)$/.test(target.tagName))) return;
  for (const { keys } of [...layers].reverse()) {
    if (!(event.key in keys)) continue;
    const act = keys[event.key];
    if (act) {
      event.preventDefault();
      act();
    }
    return;
  }
});

export function useKeys(keys: Keys): void {
  useEffect(() => {
    const layer = { keys };
    layers.push(layer);
    return () => {
      layers.splice(layers.indexOf(layer), 1);
    };
  });
}
