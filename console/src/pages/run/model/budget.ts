import type { BudgetMark, BudgetPoint, BudgetShown } from '@/api/schema';
import { count } from '@/ui/format/count';
import { money } from '@/ui/format/money';

import type { Axis, View } from './axis';

/** Percent of a limit at which a run is told to wrap up, loses its tools, and is stopped. */
export const LEVELS = { 70: 'told to wrap up', 90: 'no tools any more', 100: 'stopped' } as const;

/** What the strip shows: the resource that is nearest to its limit among those that the points tell. */
export interface Resource {
  readonly name: 'money' | 'tokens' | 'steps';
  readonly limit: number;
  readonly used: (point: BudgetPoint) => number;
  readonly reserved: (point: BudgetPoint) => number;
  readonly words: (value: number) => string;
}

const NOTHING: BudgetPoint = { seq: 0, at: 0, nano: 0, reserved_nano: 0, tokens: 0, steps: 0 };

/** The resource of the strip: the fullest of those with a limit, else money without one. */
export function resourceOf(points: readonly BudgetPoint[], limits: Pick<BudgetShown, 'nano' | 'tokens' | 'steps'>): Resource {
  const last = points.at(-1) ?? NOTHING;
  const all: Resource[] = [
    { name: 'money', limit: limits.nano, used: (p) => p.nano, reserved: (p) => p.reserved_nano, words: (n) => money(n) },
    { name: 'tokens', limit: limits.tokens, used: (p) => p.tokens, reserved: () => 0, words: (n) => `${count(n)} tokens` },
    { name: 'steps', limit: limits.steps, used: (p) => p.steps, reserved: () => 0, words: (n) => `${count(n)} steps` },
  ];
  const full = (one: Resource): number => (one.limit > 0 ? (one.used(last) + one.reserved(last)) / one.limit : -1);
  return all.reduce((best, one) => (full(one) > full(best) ? one : best));
}

/** The height of the strip, in its resource: the limit with room above what went over it, else the highest point. */
export function ceilingOf(points: readonly BudgetPoint[], resource: Resource): number {
  const highest = points.reduce((most, point) => Math.max(most, resource.used(point) + resource.reserved(point)), 0);
  return Math.max(1, resource.limit * 1.08, highest * 1.08);
}

/** A step of the strip in pixels: from `x` on it is `used` high, and with what is reserved `top`. */
export interface Step {
  readonly x: number;
  readonly used: number;
  readonly top: number;
}

/** The line in pixels, at most one step a pixel: of several in one, the last for what is used, the highest for the top. */
export function stepsOf(points: readonly BudgetPoint[], resource: Resource, axis: Axis, view: View, width: number, height: number, ceiling = ceilingOf(points, resource)): Step[] {
  const scale = width / (view.to - view.from);
  const out: Step[] = [];
  for (const point of points) {
    const at = axis.mode === 'money' ? Math.min(axis.total, point.nano) : axis.place(point.at);
    const x = Math.round((at - view.from) * scale);
    const used = (resource.used(point) / ceiling) * height;
    const top = Math.max(used, ((resource.used(point) + resource.reserved(point)) / ceiling) * height);
    const last = out.at(-1);
    if (last?.x === x) out[out.length - 1] = { x, used, top: Math.max(last.top, top) };
    else out.push({ x, used, top });
  }
  return out;
}

/** The accounts as they were after an event; null before the first. */
export function pointAsOf(points: readonly BudgetPoint[], seq: number): BudgetPoint | null {
  let low = 0;
  let high = points.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((points[middle]?.seq ?? Infinity) <= seq) low = middle + 1;
    else high = middle;
  }
  return points[low - 1] ?? null;
}

/** "70 % of money: told to wrap up". */
export function markWords(mark: BudgetMark): string {
  return `${mark.level} % of ${mark.resource}: ${LEVELS[mark.level as keyof typeof LEVELS] ?? 'reached'}`;
}

/** What the strip says, in a sentence. */
export function budgetWords(point: BudgetPoint | null, resource: Resource): string {
  const used = point ? resource.used(point) : 0;
  const reserved = point ? resource.reserved(point) : 0;
  const of = resource.limit > 0 ? ` of ${resource.words(resource.limit)} (${Math.floor((100 * used) / resource.limit)} %)` : ', no limit';
  return `${resource.words(used)} used${of}${reserved > 0 ? `, ${resource.words(reserved)} reserved` : ''}`;
}
