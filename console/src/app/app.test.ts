import { describe, expect, it } from 'vitest';

import { safeNext } from '@/pages/signin/next';
import { placeOf } from '@/pages/overview/placeOf';
import { byMidnight } from '@/pages/overview/pace';

import { fuzzy } from './Palette';
import { parseSearch, pick, stringifySearch } from './search';

describe('the address', () => {
  it('is read back as it was written', () => {
    const search = { outcome: 'failed', 'tag.x_team': 'a & b=c', since: '2026-11-21T14:00', q: 'é%20+' };
    expect(parseSearch(stringifySearch(search))).toEqual(search);
  });

  it('stays readable, and leaves out what is not set', () => {
    expect(stringifySearch({ since: '2026-11-21T14:00', a: '', b: undefined, c: null })).toBe('?since=2026-11-21T14:00');
    expect(stringifySearch({})).toBe('');
  });

  it('gives a page only what it knows', () => {
    expect(pick({ a: 'x', b: '', c: 3, d: 'no', e: {} }, ['a', 'b', 'c', 'e'])).toEqual({ a: 'x', c: '3' });
  });
});

describe('where signing in leads', () => {
  it.each([
    ['/runs?outcome=failed#x', '/runs?outcome=failed#x'],
    [undefined, '/'],
    ['', '/'],
    ['https://evil.example/', '/'],
    ['//evil.example', '/'],
    ['/\\evil.example', '/'],
    ['/\t/evil.example', '/'],
    ['javascript:alert(1)', '/'],
    ['/sign-in?next=/x', '/'],
  ])('%s leads to %s', (next, target) => expect(safeNext(next)).toBe(target));

  it('follows links of the overview only within the console', () => {
    expect(placeOf('/approvals')).toEqual({ to: '/approvals', search: {} });
    expect(placeOf('/runs?status=queued&agent=a%20b')).toEqual({ to: '/runs', search: { status: 'queued', agent: 'a b' } });
    for (const link of ['//evil.example', '/\\evil.example', 'javascript:alert(1)', 'https://evil.example/', '/']) expect(placeOf(link), link).toBeNull();
  });
});

describe('the pace of the day', () => {
  const hour = 3_600_000_000;
  it('says nothing in the first hour', () => expect(byMidnight(5, hour - 1)).toBeNull());
  it('goes on as it began', () => expect(byMidnight(6_000, 20_000 * 24 * hour + 6 * hour)).toBe(24_000));
});

describe('the palette', () => {
  it('finds letters in their order', () => {
    expect(fuzzy('support-desk', 'spdk')).toBe(true);
    expect(fuzzy('support-desk', 'kds')).toBe(false);
    expect(fuzzy('anything', '')).toBe(true);
  });
});
