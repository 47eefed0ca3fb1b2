// The place in the report, in the location's hash, so that each can be linked to:
// `#/episode/RUN/held-out/00012/0003-0?q=q5&item=sem_0001`.
import { useLayoutEffect, useState } from "preact/hooks";

export type Route = { view: string; path: string; get: (key: string) => string };
export type Words = Record<string, string | number | null | undefined>;

export function link(view: string, path = "", words: Words = {}): string {
  const query = Object.entries(words)
    .filter(([, value]) => value !== null && value !== undefined && value !== "")
    .map(([key, value]) => `${key}=${encodeURIComponent(String(value))}`)
    .join("&");
  return `#/${view}${path ? `/${path}` : ""}${query ? `?${query}` : ""}`;
}

export function parse(hash: string): Route {
  const [before = "", ...after] = hash.replace(/^#?\/?/, "").split("?");
  const words = new URLSearchParams(after.join("?"));
  const [view = "", ...path] = before.split("/");
  return { view, path: path.join("/"), get: (key) => words.get(key) ?? "" };
}

/** Go to a place; `quietly`: without an entry of the history, for what changes with every key. */
export function go(to: string, quietly = false): void {
  if (location.hash === to) return;
  if (quietly) history.replaceState(null, "", to);
  else location.hash = to;
  moved();
}

const watchers = new Set<() => void>();

/** Tell the views where the location is. The browser says so as well, some tasks later. */
export function moved(): void {
  for (const watcher of watchers) watcher();
}

window.addEventListener("hashchange", moved);

export function useRoute(): Route {
  const [hash, set] = useState(location.hash);
  useLayoutEffect(() => {
    const changed = () => set(location.hash);
    changed();
    watchers.add(changed);
    return () => {
      watchers.delete(changed);
    };
  }, []);
  return parse(hash);
}
