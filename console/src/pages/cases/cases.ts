import type { CaseLine } from '@/api/schema';

/** Which cases are shown. */
export const SHOWS = ['all', 'mine', 'unassigned', 'overdue'] as const;
export type Show = (typeof SHOWS)[number];

export const readShow = (text: string | undefined): Show => SHOWS.find((one) => one === text) ?? 'all';

/** Whether a name that was typed, such as `ada`, or an actor, such as `key:ada`, is this actor. */
export function isActor(name: string, actor: string): boolean {
  const plain = (text: string): string => text.replace(/^(key|cli):/, '').toLowerCase();
  return name !== '' && (name === actor || plain(name) === plain(actor));
}

/** Whether somebody was to look at it before now, microseconds. */
export const isOverdue = (one: Pick<CaseLine, 'due'>, now: number): boolean => one.due !== 0 && one.due < now;

/** The cases that are asked for, in the order in which they came. */
export function casesShown(items: readonly CaseLine[], show: Show, query: string, me: string, now: number): readonly CaseLine[] {
  const word = query.trim().toLowerCase();
  return items.filter((one) => {
    if (show === 'mine' && one.holder !== me && !isActor(one.assignee, me)) return false;
    if (show === 'unassigned' && (one.assignee !== '' || one.holder !== '')) return false;
    if (show === 'overdue' && !isOverdue(one, now)) return false;
    return word === '' || [one.run, one.agent, one.customer, one.assignee, one.holder, one.note].some((text) => text.toLowerCase().includes(word));
  });
}

/** How many of each there are. */
export const countShown = (items: readonly CaseLine[], me: string, now: number): Readonly<Record<Show, number>> =>
  Object.fromEntries(SHOWS.map((show) => [show, casesShown(items, show, '', me, now).length])) as Record<Show, number>;

/** Microseconds since the epoch of what a field for date and time holds, in the browser's zone; 0 = empty; null = none. */
export function readMoment(text: string): number | null {
  if (text === '') return 0;
  const at = /^\d{4}-\d\d-\d\dT\d\d:\d\d/.test(text) ? new Date(text).getTime() : Number.NaN;
  return Number.isFinite(at) && at > 0 ? at * 1000 : null;
}

/** A moment as such a field takes it. */
export function momentField(at: number): string {
  if (at === 0) return '';
  const local = new Date(at / 1000);
  const two = (n: number): string => String(n).padStart(2, '0');
  return `${local.getFullYear()}-${two(local.getMonth() + 1)}-${two(local.getDate())}T${two(local.getHours())}:${two(local.getMinutes())}`;
}
