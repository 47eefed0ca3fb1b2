// A list of any length: only the rows in sight are in the page.
import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";

type Props<T> = {
  rows: T[];
  label: string;
  /** Pixels of a row: on a desk, and on a phone. */
  height: [number, number];
  /** Rows in sight at most. */
  most: number;
  /** Place of the row that must be in sight. */
  chosen?: number;
  row: (one: T, place: number) => ComponentChildren;
  empty: string;
};

const NARROW = matchMedia("(max-width: 700px)");

export function useNarrow(): boolean {
  const [narrow, set] = useState(NARROW.matches);
  useEffect(() => {
    const changed = () => set(NARROW.matches);
    NARROW.addEventListener("change", changed);
    return () => NARROW.removeEventListener("change", changed);
  }, []);
  return narrow;
}

export function Rows<T>({ rows, label, height, most, chosen = -1, row, empty }: Props<T>) {
  const box = useRef<HTMLDivElement>(null);
  const [top, setTop] = useState(0);
  const high = height[useNarrow() ? 1 : 0];
  const room = Math.min(rows.length, most) * high;
  useLayoutEffect(() => {
    const element = box.current;
    if (!element || chosen < 0) return;
    if (chosen * high < element.scrollTop) element.scrollTop = chosen * high;
    else if ((chosen + 1) * high > element.scrollTop + room) element.scrollTop = (chosen + 1) * high - room;
  }, [chosen, high, room, rows.length]);
  if (rows.length === 0) return <p class="nothing">{empty}</p>;
  const first = Math.max(0, Math.min(Math.floor(top / high) - 4, rows.length - 1));
  const last = Math.min(rows.length, first + Math.ceil(room / high) + 9);
  return (
    <div
      class="rows"
      ref={box}
      role="region"
      aria-label={label}
      tabIndex={0}
      style={{ height: `${room + 2}px` }}
      onScroll={(event) => setTop(event.currentTarget.scrollTop)}
    >
      <div class="rows-all" role="list" style={{ height: `${rows.length * high}px` }}>
        {rows.slice(first, last).map((one, offset) => (
          <div
            key={first + offset}
            class="row"
            role="listitem"
            aria-setsize={rows.length}
            aria-posinset={first + offset + 1}
            style={{ height: `${high}px`, top: `${(first + offset) * high}px` }}
          >
            {row(one, first + offset)}
          </div>
        ))}
      </div>
    </div>
  );
}
