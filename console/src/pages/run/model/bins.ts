import type { Axis, View } from './axis';

/** Of every pixel of a row: 0 = nothing, else 1 + the state of the span there that is to be seen first. */
export type Bins = Uint8Array;

/**
 * Many spans on one row, by pixel: an error or a hold wins its pixel, however many others are there. Beginnings do not
 * fall with the index, so what begins behind the view is not looked at.
 */
export function binsOf(members: Int32Array, state: (i: number) => number, axis: Axis, view: View, width: number, upTo?: (i: number) => boolean): Bins {
  const bins = new Uint8Array(width);
  const scale = width / (view.to - view.from);
  for (const i of members) {
    const begin = axis.begin[i] ?? 0;
    if (begin > view.to) break;
    const end = axis.end[i] ?? 0;
    if (end < view.from || (upTo && !upTo(i))) continue;
    const from = Math.max(0, Math.floor((begin - view.from) * scale));
    const to = Math.min(width - 1, Math.max(from, Math.ceil((end - view.from) * scale) - 1));
    const rank = 1 + state(i);
    for (let x = from; x <= to; x++) if ((bins[x] ?? 0) < rank) bins[x] = rank;
  }
  return bins;
}

/** A stretch of pixels of the same rank. */
export interface Stretch {
  readonly from: number;
  readonly to: number;
  readonly rank: number;
}

/** Bins as stretches from `from` up to but not with `to`, those with nothing included. */
export function stretches(bins: Bins): Stretch[] {
  const out: Stretch[] = [];
  let from = 0;
  for (let x = 1; x <= bins.length; x++) {
    if (x < bins.length && bins[x] === bins[from]) continue;
    out.push({ from, to: x, rank: bins[from] ?? 0 });
    from = x;
  }
  return bins.length === 0 ? [] : out;
}
