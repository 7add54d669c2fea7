import { describe, expect, it } from 'vitest';

import { parseMoney, typedMoney } from '@/ui/format/money';

import { beginsAnew, type Draft, draftOf, EMPTY, isRaised, read, type Written } from './model/draft';
import { fullest, limitWords, standingsOf } from './model/standing';
import { accountWords, coverWords, inZone, periodWords } from './model/words';

const none = { nano: 0, tokens: 0, calls: 0 };
const written: Written = { match: { customer: '*' }, period: 'month', timezone: 'Europe/Berlin', nano: 60_000_000_000, tokens: 0, calls: 500, at_end: 'park' };

describe('an amount that somebody typed', () => {
  it.each([['60', 60_000_000_000], ['$1,200.50', 1_200_500_000_000], ['0.000000001', 1], ['0', 0], [' 7.1 ', 7_100_000_000], ['9007199.25', 9_007_199_250_000_000]])('%s', (text, nano) => expect(parseMoney(text)).toBe(nano));

  it.each(['', '-1', '1e3', '.5', '1.', '1,00', '12,34.5', '0.0000000001', '9007200', 'NaN', '6 0', '１'])('%j is none', (text) => expect(parseMoney(text)).toBeNull());

  it.each([0, 1, 250_000_000, 60_000_000_000, 9_007_199_254_740_991])('%d is typed as it is read', (nano) => expect(parseMoney(typedMoney(nano))).toBe(nano));
});

describe('how an account stands', () => {
  it('has a line for each limit that there is', () => {
    const [money, calls] = standingsOf({ nano: 100, tokens: 0, calls: 10 }, { nano: 70, tokens: 99, calls: 3 }, { nano: 15, tokens: 0, calls: 1 });
    expect(money).toEqual({ resource: 'nano', limit: 100, spent: 70, held: 15, left: 15, share: 0.85, level: 70 });
    expect(calls).toMatchObject({ resource: 'calls', left: 6, level: 0 });
  });

  it.each([[699, 0], [700, 70], [899, 70], [900, 90], [999, 90], [1000, 100], [1400, 100]])('%d of 1000 is at level %d: what is held does not count', (nano, level) => {
    expect(standingsOf({ ...none, nano: 1000 }, { ...none, nano }, { ...none, nano: 500 })[0]?.level).toBe(level);
  });

  it('over a limit that was lowered has nothing left', () => expect(standingsOf({ ...none, nano: 100 }, { ...none, nano: 140 }, none)[0]).toMatchObject({ left: 0, share: 1.4 }));

  it('is fullest where most is used', () => {
    expect(fullest([{ used_percent: 3 }, { used_percent: 91 }, { used_percent: 40 }])).toEqual({ used_percent: 91 });
    expect(fullest([])).toBeUndefined();
  });

  it('has limits in words', () => expect(limitWords({ nano: 60_000_000_000, tokens: 0, calls: 1 })).toBe('$60.00, 1 call'));
});

describe('words of a budget', () => {
  it.each([[{}, 'every call'], [{ customer: '*' }, 'each customer'], [{ customer: 'acme', feature: '*', x_team: '' }, 'customer acme, each feature, tag team (none)']])('%j covers', (match, words) => expect(coverWords(match as Record<string, string>)).toBe(words));

  it.each([[{}, 'all together'], [{ customer: 'acme' }, 'customer acme'], [{ customer: '(other)' }, 'all others together'], [{ customer: '' }, 'customer (none)']])('%j is', (who, words) => expect(accountWords(who as Record<string, string>)).toBe(words));

  it('names the zone of what begins somewhere', () => {
    expect(periodWords('month', 'Asia/Tokyo')).toBe('a month, Asia/Tokyo');
    expect(periodWords('run', 'Asia/Tokyo')).not.toContain('Tokyo');
  });

  it('tells a period’s end where the budget is, on both sides of a clock change', () => {
    expect(inZone(Date.UTC(2026, 9, 31, 23) * 1000, 'Europe/Berlin')).toBe('2026-11-01 00:00 Europe/Berlin');
    expect(inZone(Date.UTC(2026, 8, 30, 22) * 1000, 'Europe/Berlin')).toBe('2026-10-01 00:00 Europe/Berlin');
    expect(inZone(0, 'Mars/Olympus')).toBe('1970-01-01 00:00 UTC');
  });
});

describe('a budget that is written', () => {
  const draft = (over: Partial<Draft>): Draft => ({ ...EMPTY, name: 'acme-month', usd: '60', ...over });

  it('is what it was when nothing is changed', () => expect(read(draftOf({ ...written, name: 'a' })).written).toEqual(written));

  it.each([
    [{ name: '' }, 'name'], [{ name: 'a/b' }, 'name'], [{ name: ' a' }, 'name'], [{ name: 'a\u202eb' }, 'name'], [{ usd: '-1' }, 'usd'], [{ tokens: '1.5' }, 'tokens'], [{ calls: 'x' }, 'calls'],
    [{ usd: '' }, 'limits'], [{ usd: '0' }, 'limits'], [{ timezone: 'Mars/Olympus' }, 'timezone'], [{ timezone: '' }, 'timezone'],
    [{ lines: [{ name: 'customer', value: '*' }, { name: 'customer', value: 'a' }] }, 'lines'], [{ lines: [{ name: 'X-team', value: '*' }] }, 'lines'],
  ] as [Partial<Draft>, string][])('%j is refused for its %s', (over, field) => {
    const { written: got, faults } = read(draft(over));
    expect(got).toBeNull();
    expect(Object.keys(faults)).toEqual([field]);
  });

  it('begins anew when it counts something else, not when only a limit is another', () => {
    expect(beginsAnew(written, { ...written, nano: 1, at_end: 'stop' })).toBe(false);
    expect(beginsAnew(written, { ...written, timezone: 'UTC' })).toBe(true);
    expect(beginsAnew(written, { ...written, match: { customer: 'acme' } })).toBe(true);
    expect(beginsAnew({ ...written, match: { a: '1', b: '2' } }, { ...written, match: { b: '2', a: '1' } })).toBe(false);
  });

  it('is raised by more, and by no limit at all', () => {
    expect(isRaised(written, { ...written, nano: 60_000_000_001 })).toBe(true);
    expect(isRaised(written, { ...written, calls: 0 })).toBe(true);
    expect(isRaised(written, { ...written, nano: 1, tokens: 5 })).toBe(false);
  });
});
