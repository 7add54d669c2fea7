import { type RefObject, useEffect, useState } from 'react';
import { flushSync } from 'react-dom';

/** Rows beside those in view that are there already. */
const BESIDE = 10;
/** The range moves in steps, so that scrolling a row draws nothing anew. */
const STEP = 8;

export interface Range {
  readonly first: number;
  readonly last: number;
}

/** Rows of a fixed height that are in view, from `first` up to but not with `last`. */
export function rangeOf(scrolled: number, height: number, row: number, count: number): Range {
  const first = Math.max(0, Math.floor((scrolled / row - BESIDE) / STEP) * STEP);
  const last = Math.min(count, Math.ceil(((scrolled + height) / row + BESIDE) / STEP) * STEP);
  return { first: Math.min(first, Math.max(0, count - 1)), last };
}

/** The rows in view of a scrolled element. They are committed with the scrolling, so that no blank is ever seen. */
export function useRange(scroller: RefObject<HTMLElement | null>, row: number, count: number): Range {
  const [place, setPlace] = useState({ scrolled: 0, height: 600 });
  const range = rangeOf(place.scrolled, place.height, row, count);
  useEffect(() => {
    const element = scroller.current;
    if (!element) return undefined;
    const look = (): void => {
      const next = { scrolled: element.scrollTop, height: element.clientHeight };
      setPlace((old) => {
        const before = rangeOf(old.scrolled, old.height, row, count);
        const after = rangeOf(next.scrolled, next.height, row, count);
        return before.first === after.first && before.last === after.last ? old : next;
      });
    };
    const scroll = (): void => flushSync(look);
    element.addEventListener('scroll', scroll, { passive: true });
    const observer = new ResizeObserver(look);
    observer.observe(element);
    return () => {
      element.removeEventListener('scroll', scroll);
      observer.disconnect();
    };
  }, [scroller, row, count]);
  return range;
}

/** Scrolls a row into view, into the middle when it was far away. */
export function scrollToRow(element: HTMLElement, index: number, row: number, head: number): void {
  const top = index * row;
  const from = element.scrollTop;
  const room = element.clientHeight - head;
  if (top >= from && top + row <= from + room) return;
  const near = top >= from - 4 * row && top + row <= from + room + 4 * row;
  if (!near) element.scrollTop = Math.max(0, top - room / 2);
  else element.scrollTop = top < from ? top : top + row - room;
}
