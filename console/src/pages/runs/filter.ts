import { RUN_FILTERS, type RunFilterName, type RunsSearch, TAG_FILTER } from './search';

const NAMES = new Set<string>(RUN_FILTERS);
/** What people type for a filter, where the API's name is another. `cost` is in dollars. */
const ALIASES: Record<string, RunFilterName> = { id: 'q', type: 'task_type', waiting: 'waiting_for', is: 'shown' };

/** What a text of filters means, and what of it means nothing. */
export interface Parsed {
  readonly search: RunsSearch;
  readonly wrong: readonly string[];
}

/**
 * Parses `outcome:failed agent:support-desk cost:>0.05 since:1h 0199f2`. Values with spaces stand in quotes; a word
 * without a name is looked for as the beginning of an id, a session or a tag's value.
 */
export function parseFilter(text: string): Parsed {
  const search: Record<string, string> = {};
  const wrong: string[] = [];
  for (const match of text.matchAll(/(?:([\w.]+):)?(?:"([^"]*)"?|(\S*))/g)) {
    const [whole, name, quoted, bare = ''] = match;
    if (whole === '') continue;
    const value = quoted ?? bare;
    if (name === undefined) {
      search['q'] = value;
      continue;
    }
    const known = Object.hasOwn(ALIASES, name) ? (ALIASES[name] ?? name) : name;
    if (name === 'cost') {
      const nano = nanoOf(value);
      if (nano === null) wrong.push(`${whole}: cost:>0.05 finds runs that cost more than 5 cents`);
      else search['min_nano'] = nano;
    } else if ((known === 'since' || known === 'until') && moment(value, 0) === null) {
      wrong.push(`${whole}: a span such as 15m, 1h, 7d, or a time such as 2026-11-21T14:00`);
    } else if (NAMES.has(known) || TAG_FILTER.test(known)) {
      if (value !== '') search[known] = value;
    } else wrong.push(`${whole}: there is no filter ${name}`);
  }
  return { search: search as RunsSearch, wrong };
}

/** The text that `parseFilter` reads as this search. */
export function formatFilter(search: RunsSearch): string {
  const words: string[] = [];
  for (const [name, value] of Object.entries(search)) {
    if (value === undefined) continue;
    if (name === 'min_nano') words.push(`cost:>${trimmed(Number(value))}`);
    else words.push(name === 'q' ? quoted(value) : `${name}:${quoted(value)}`);
  }
  return words.join(' ');
}

function quoted(value: string): string {
  return /[\s":]/.test(value) && !/^\d{4}-\d\d-\d\dT[\d:]+$/.test(value) ? `"${value.replaceAll('"', '')}"` : value;
}

function trimmed(nano: number): string {
  return (nano / 1e9).toFixed(9).replace(/\.?0+$/, '');
}

function nanoOf(value: string): string | null {
  const match = /^>?=?\$?(\d{1,7}(?:\.\d{1,9})?)$/.exec(value);
  return match ? String(Math.round(Number(match[1]) * 1e9)) : null;
}

const UNITS: Record<string, number> = { s: 1e6, m: 60e6, h: 3600e6, d: 86_400e6, w: 7 * 86_400e6 };

/**
 * A moment in microseconds: a span before `now` ("1h", "7d"), microseconds since the epoch, or a local time
 * ("2026-11-21T14:00"). Null when it is none of them.
 */
export function moment(value: string, now: number): number | null {
  const span = /^(\d{1,4})([smhdw])$/.exec(value);
  if (span) return now - Number(span[1]) * (UNITS[span[2] ?? ''] ?? 0);
  if (/^\d{13,17}$/.test(value)) return Number(value);
  if (!/^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d)?)?$/.test(value)) return null;
  const ms = new Date(value.includes('T') ? value : `${value}T00:00`).getTime();
  return Number.isNaN(ms) ? null : ms * 1000;
}

/** The search as the API takes it: moments resolved against `now`. A moment that is none is left out. */
export function toQuery(search: RunsSearch, now: number): Record<string, string> {
  const out: Record<string, string> = {};
  for (const [name, value] of Object.entries(search)) {
    if (value === undefined) continue;
    if (name !== 'since' && name !== 'until') out[name] = value;
    else {
      const at = moment(value, now);
      if (at !== null) out[name] = String(at);
    }
  }
  return out;
}
