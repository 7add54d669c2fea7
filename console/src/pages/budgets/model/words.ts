import { groupName } from '@/pages/costs/search';

export const EACH = '*';
export const OTHER = '(other)';
export const PERIODS = ['run', 'hour', 'day', 'month', 'total'] as const;
export type Period = (typeof PERIODS)[number];

const dimension = (name: string): string => (name === 'key' ? 'key' : name.startsWith('x_') ? `tag ${name.slice(2)}` : groupName(name));

/** Which calls a budget covers: "every call", "each customer", "customer acme, each feature". */
export function coverWords(match: Readonly<Record<string, string>>): string {
  const parts = Object.entries(match).map(([name, value]) => (value === EACH ? `each ${dimension(name)}` : `${dimension(name)} ${value === '' ? '(none)' : value}`));
  return parts.length === 0 ? 'every call' : parts.join(', ');
}

/** Whose an account is: "customer acme", or "all others together". */
export function accountWords(who: Readonly<Record<string, string>>): string {
  const parts = Object.entries(who);
  if (parts.length === 0) return 'all together';
  if (parts.some(([, value]) => value === OTHER)) return 'all others together';
  return parts.map(([name, value]) => `${dimension(name)} ${value === '' ? '(none)' : value}`).join(', ');
}

const PERIOD: Readonly<Record<Period, string>> = { run: 'a run, with all that it starts', hour: 'an hour', day: 'a day', month: 'a month', total: 'in all, for good' };

/** The period in words. Hours and more have a zone in which they begin. */
export function periodWords(period: Period, timezone: string): string {
  return period === 'run' || period === 'total' ? PERIOD[period] : `${PERIOD[period]}, ${timezone}`;
}

const AT_END = { stop: 'at its end runs stop', park: 'at its end runs wait until it is raised or the period turns' } as const;
export const endWords = (atEnd: keyof typeof AT_END): string => AT_END[atEnd];

/** What a limit is of. */
export const RESOURCE_WORDS = { nano: 'money', tokens: 'tokens', calls: 'calls' } as const;

const formats = new Map<string, Intl.DateTimeFormat>();

/** A moment in a zone: "2026-12-01 00:00". What the browser does not know as a zone is told in UTC, and says so. */
export function inZone(us: number, timezone: string): string {
  let format = formats.get(timezone);
  let zone = timezone;
  if (format === undefined) {
    try {
      format = new Intl.DateTimeFormat('sv-SE', { timeZone: timezone, dateStyle: 'short', timeStyle: 'short' });
    } catch {
      zone = 'UTC';
      format = new Intl.DateTimeFormat('sv-SE', { timeZone: 'UTC', dateStyle: 'short', timeStyle: 'short' });
    }
    if (zone === timezone) formats.set(timezone, format);
  }
  return `${format.format(new Date(us / 1000))} ${zone}`;
}
