import type { CriticalPart } from '@/api/schema';
import { duration } from '@/ui/format/duration';
import { money } from '@/ui/format/money';

import { grouped } from './group';
import { endOf, RUN, type TraceModel } from './trace';

export const AXES = ['time', 'active', 'money'] as const;
export type AxisMode = (typeof AXES)[number];

/** A wait that the axis leaves out: at `at` on it, `us` microseconds that took no room. */
export interface Break {
  readonly at: number;
  readonly us: number;
  readonly part: string;
}

/**
 * Where every span lies: `begin[i]` to `end[i]`, in microseconds (time, active) or nano-dollars (money). `place` says
 * where a time lies; in money it is where the money stood then.
 */
export interface Axis {
  readonly mode: AxisMode;
  readonly begin: Float64Array;
  readonly end: Float64Array;
  readonly total: number;
  readonly breaks: readonly Break[];
  readonly place: (us: number) => number;
}

/** Waits shorter than this share of the whole stay as they are. */
const CUT_SHARE = 0.02;
const WAITS = new Set(['queue', 'approval', 'wait']);

export function axisOf(model: TraceModel, mode: AxisMode): Axis {
  if (mode === 'money') return moneyAxis(model);
  return mode === 'active' ? activeAxis(model) : timeAxis(model);
}

function timeAxis(model: TraceModel): Axis {
  const end = Float64Array.from(model.start, (_, i) => endOf(model, i));
  return { mode: 'time', begin: model.start, end, total: Math.max(1, model.total), breaks: [], place: (us) => us };
}

interface Stretch {
  readonly from: number;
  readonly to: number;
  readonly part: string;
}

/** The waits that can be left out: those of the critical path, less the time in which another call ran beside. */
export function cuts(model: TraceModel): Stretch[] {
  const waits: { from: number; to: number; part: string; spans: Set<number> }[] = [];
  for (const part of model.critical) {
    if (!WAITS.has(part.part)) continue;
    const last = waits.at(-1);
    if (last && last.part === part.part && last.to === part.start) {
      last.to = part.start + part.duration;
      last.spans.add(part.span);
    } else waits.push({ from: part.start, to: part.start + part.duration, part: part.part, spans: new Set([part.span]) });
  }
  if (waits.length === 0) return [];
  const busy = busyBeside(model, waits);
  const least = model.total * CUT_SHARE;
  return waits.flatMap((wait) => without(wait, busy)).filter((left) => left.to - left.from > least);
}

/** Times in which a model or a tool ran that is not itself what the critical path waits for, joined and in order. */
function busyBeside(model: TraceModel, waits: readonly { spans: ReadonlySet<number> }[]): Stretch[] {
  const waiting = new Set(waits.flatMap((wait) => [...wait.spans]));
  const works = model.kinds.map((kind) => kind === 'model' || kind === 'tool');
  const spans: Stretch[] = [];
  for (let i = 0; i < model.count; i++) {
    const isLeaf = model.childStart[i + 1] === model.childStart[i + 2];
    if (isLeaf && works[model.kind[i] ?? 0] && !waiting.has(i)) spans.push({ from: model.start[i] ?? 0, to: endOf(model, i), part: '' });
  }
  spans.sort((a, b) => a.from - b.from);
  const joined: { from: number; to: number; part: string }[] = [];
  for (const span of spans) {
    const last = joined.at(-1);
    if (last && span.from <= last.to) last.to = Math.max(last.to, span.to);
    else joined.push({ ...span });
  }
  return joined;
}

function without(wait: Stretch, busy: readonly Stretch[]): Stretch[] {
  const left: Stretch[] = [];
  let from = wait.from;
  for (const span of busy) {
    if (span.to <= from) continue;
    if (span.from >= wait.to) break;
    if (span.from > from) left.push({ from, to: span.from, part: wait.part });
    from = Math.max(from, span.to);
  }
  if (from < wait.to) left.push({ from, to: wait.to, part: wait.part });
  return left;
}

function activeAxis(model: TraceModel): Axis {
  const left = cuts(model);
  const removed: number[] = [];
  let sum = 0;
  for (const cut of left) {
    removed.push(sum);
    sum += cut.to - cut.from;
  }
  const place = (us: number): number => {
    let low = 0;
    let high = left.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((left[middle]?.from ?? Infinity) <= us) low = middle + 1;
      else high = middle;
    }
    const cut = left[low - 1];
    return cut ? us - (removed[low - 1] ?? 0) - (Math.min(us, cut.to) - cut.from) : us;
  };
  return {
    mode: 'active',
    begin: Float64Array.from(model.start, place),
    end: Float64Array.from(model.start, (_, i) => place(endOf(model, i))),
    total: Math.max(1, model.total - sum),
    breaks: left.map((cut) => ({ at: place(cut.from), us: cut.to - cut.from, part: cut.part })),
    place,
  };
}

/** Each call is as wide as it cost, one after the other; what holds others spans them. */
function moneyAxis(model: TraceModel): Axis {
  const begin = new Float64Array(model.count);
  const end = new Float64Array(model.count);
  const isLeaf = (i: number): boolean => model.childStart[i + 1] === model.childStart[i + 2];
  let sum = 0;
  for (let i = 0; i < model.count; i++) {
    begin[i] = sum;
    if (isLeaf(i)) sum += model.nano[i] ?? 0;
    end[i] = sum;
  }
  for (let i = model.count - 1; i >= 0; i--) {
    const up = model.parent[i] ?? RUN;
    if (up !== RUN) end[up] = Math.max(end[up] ?? 0, end[i] ?? 0);
  }
  const points = model.budget;
  const place = (us: number): number => {
    let low = 0;
    let high = points.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((points[middle]?.at ?? Infinity) <= us) low = middle + 1;
      else high = middle;
    }
    return Math.min(sum, points[low - 1]?.nano ?? 0);
  };
  return { mode: 'money', begin, end, total: Math.max(1, sum), breaks: [], place };
}

/** The part of an axis that is in view, in its unit. */
export interface View {
  readonly from: number;
  readonly to: number;
}

/** Nothing narrower can be told apart: a microsecond, a nano-dollar, times the pixels of a screen. */
const NARROWEST = 1_000;

export const whole = (axis: Axis): View => ({ from: 0, to: axis.total });

/** The view made `factor` times as wide around `around` (0 = its left edge, 1 = its right). */
export function zoomed(view: View, axis: Axis, factor: number, around = 0.5): View {
  const width = Math.min(axis.total, Math.max(Math.min(NARROWEST, axis.total), (view.to - view.from) * factor));
  const middle = view.from + (view.to - view.from) * around;
  return held({ from: middle - width * around, to: middle + width * (1 - around) }, axis);
}

/** The view moved by a share of its width. */
export function panned(view: View, axis: Axis, share: number): View {
  const by = (view.to - view.from) * share;
  return held({ from: view.from + by, to: view.to + by }, axis);
}

/** A view inside the axis, of the same width as far as it has room. */
export function held(view: View, axis: Axis): View {
  const width = Math.min(axis.total, view.to - view.from);
  const from = Math.max(0, Math.min(axis.total - width, view.from));
  return { from, to: from + width };
}

/** A view with a span in it, whole and with room around it; the same one when it is to be seen already. */
export function showing(view: View, axis: Axis, begin: number, end: number): View {
  const width = view.to - view.from;
  if (end > view.from && begin < view.to && end - begin >= width * 0.002) return view;
  const room = Math.max((end - begin) * 4, Math.min(width, axis.total * 0.02));
  return held({ from: (begin + end) / 2 - room / 2, to: (begin + end) / 2 + room / 2 }, axis);
}

/** A number on the axis, in words: "2.41 s", "$0.0123". */
export function axisWords(axis: Axis, value: number): string {
  return axis.mode === 'money' ? money(Math.round(value)) : duration(Math.round(value));
}

/** Steps of time from ten seconds on, in seconds: those that clocks have. */
const CLOCK_STEPS = [10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400].map((seconds) => seconds * 1_000_000);

/** Round places for labels in the view, at most `most` and one: steps of 1, 2 or 5 times a power of ten, or of the clock. */
export function ticks(view: View, most: number, mode: AxisMode = 'time'): number[] {
  const width = view.to - view.from;
  if (!(width > 0) || most < 1) return [];
  const raw = width / most;
  const power = 10 ** Math.floor(Math.log10(raw));
  const clock = mode === 'money' || raw < 5_000_000 ? undefined : CLOCK_STEPS.find((step) => step >= raw);
  const step = clock ?? [1, 2, 5, 10].map((n) => n * power).find((n) => n >= raw) ?? raw;
  const out: number[] = [];
  for (let at = Math.ceil(view.from / step) * step; at <= view.to; at += step) out.push(at);
  return out;
}

/** Sums of the critical path by part, the largest first. */
export function criticalParts(shares: Readonly<Record<string, number>>): { part: string; share: number }[] {
  return Object.entries(shares)
    .map(([part, share]) => ({ part, share }))
    .filter(({ share }) => share > 0)
    .sort((a, b) => b.share - a.share);
}

/** Stretches of the critical path by the span that they are in; those of no span under `RUN`. */
export function criticalBySpan(critical: readonly CriticalPart[]): Map<number, CriticalPart[]> {
  return grouped(critical, (part) => part.span);
}

/** The call of the critical path that follows a span in the order of the run, the first one after the last. */
export function criticalAfter(critical: readonly CriticalPart[], span: number | null): number | null {
  const spans = critical.map((part) => part.span).filter((one) => one >= 0);
  return spans.find((one) => one > (span ?? -1)) ?? spans[0] ?? null;
}
