// Dark or light: as the system says, until one chooses. What is remembered is a convenience: where a browser keeps
// nothing for pages from the disk, all works as well.
import { useEffect, useState } from "preact/hooks";

export type Theme = "dark" | "light";

export function recall(key: string): string | null {
  try {
    return localStorage.getItem(`memrl.${key}`);
  } catch {
    return null;
  }
}

export function remember(key: string, value: string): void {
  try {
    localStorage.setItem(`memrl.${key}`, value);
  } catch {
    // not kept
  }
}

const system = matchMedia("(prefers-color-scheme: dark)");
const watchers = new Set<() => void>();
let chosen = recall("theme");

export function theme(): Theme {
  return chosen === "dark" || chosen === "light" ? chosen : system.matches ? "dark" : "light";
}

function apply(): void {
  document.documentElement.dataset["theme"] = theme();
  for (const watcher of watchers) watcher();
}

export function turn(): void {
  chosen = theme() === "dark" ? "light" : "dark";
  remember("theme", chosen);
  apply();
}

export function useTheme(): Theme {
  const [now, set] = useState(theme());
  useEffect(() => {
    const changed = () => set(theme());
    watchers.add(changed);
    return () => {
      watchers.delete(changed);
    };
  }, []);
  return now;
}

system.addEventListener("change", apply);
apply();
