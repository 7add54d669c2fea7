import { describe, expect, it } from 'vitest';

import { bytes, count, percent, plural, shortId } from './count';
import { duration, relative } from './duration';
import { certaintyOf, exactMoney, money, moneyAxis } from './money';
import { moment } from './time';
import { copyable, pieces } from './unseen';

describe('money', () => {
  it.each([
    [0, '$0'],
    [1, '$0.000000001'],
    [12, '$0.000000012'],
    [999, '$0.000000999'],
    [1_234, '$0.00000123'],
    [3_100_000, '$0.00310'],
    [96_412_345, '$0.0964'],
    [500_000_000, '$0.500'],
    [999_400_000, '$0.999'],
    [999_500_000, '$1.00'],
    [999_999_999, '$1.00'],
    [1_000_000_000, '$1.00'],
    [49_000_000_000, '$49.00'],
    [1_204_500_000_000, '$1,204.50'],
    [-3_100_000, '−$0.00310'],
  ])('%d nano-dollars read as %s', (nano, text) => expect(money(nano)).toBe(text));

  it('gives the figures of an axis the same decimals', () => {
    expect(moneyAxis([0, 250_000_000, 500_000_000, 1_000_000_000])).toEqual(['$0', '$0.25', '$0.50', '$1.00']);
    expect(moneyAxis([0, 2_500_000, 5_000_000])).toEqual(['$0', '$0.0025', '$0.0050']);
    expect(moneyAxis([0, 2_000_000_000_000])).toEqual(['$0', '$2,000.00']);
  });

  it('never shows a sum that is not zero as zero', () => {
    for (let nano = 1; nano < 2e9; nano = Math.ceil(nano * 1.37)) {
      expect(money(nano), String(nano)).toMatch(/[1-9]/);
      const shown = Number(money(nano).slice(1).replaceAll(',', '')) * 1e9;
      expect(Math.abs(shown - nano) / nano, String(nano)).toBeLessThan(0.006);
    }
  });

  it('marks what is not exact', () => {
    expect(money(5e9, 'at_maximum')).toBe('≤$5.00');
    expect(money(5e9, 'partial')).toBe('≥$5.00');
    expect(money(5e9, 'unpriced')).toBe('unpriced');
    expect(certaintyOf({ nano: 5, nano_at_maximum: 1 })).toBe('at_maximum');
    expect(certaintyOf({ nano: 5, nano_at_maximum: 0 })).toBe('exact');
  });

  it('keeps every digit where exactness is asked for', () => {
    expect(exactMoney(96_412_345)).toBe('$0.096412345');
    expect(exactMoney(9_007_199_254_740_991)).toBe('$9007199.254740991');
    expect(exactMoney(-1)).toBe('−$0.000000001');
  });
});

describe('duration', () => {
  it.each([
    [0, '0 s'], [340, '340 µs'], [340_000, '340 ms'], [999_400, '999 ms'], [999_600, '1.00 s'], [2_410_000, '2.41 s'],
    [9_994_000, '9.99 s'], [9_996_000, '10.0 s'], [24_100_000, '24.1 s'], [59_960_000, '1 m 00 s'], [187_000_000, '3 m 07 s'],
    [3_599_600_000, '1 h 00 m'], [7_500_000_000, '2 h 05 m'], [273_600_000_000, '3 d 04 h'], [-340_000, '−340 ms'],
  ])('%d µs read as %s', (us, text) => expect(duration(us)).toBe(text));

  it('says how long ago', () => {
    expect(relative(0, 500_000)).toBe('now');
    expect(relative(0, 42e6)).toBe('42 s ago');
    expect(relative(11 * 60e6, 0)).toBe('in 11 min');
    expect(relative(0, 50 * 3600e6)).toBe('2 days ago');
  });
});

describe('time', () => {
  it('leaves the date out on the same day only', () => {
    const noon = new Date(2026, 10, 21, 12, 0, 0).getTime() * 1000;
    expect(moment(noon, noon + 3600e6)).toBe('12:00:00');
    expect(moment(noon, noon + 13 * 3600e6)).toBe('2026-11-21 12:00');
  });
});

describe('counts', () => {
  it('are written out', () => {
    expect(count(12_480)).toBe('12,480');
    expect(plural(1, 'run')).toBe('1 run');
    expect(plural(0, 'run')).toBe('0 runs');
    expect(bytes(64_000)).toBe('64.0 kB');
  });

  it('says that a small share is not none', () => {
    expect(percent(0)).toBe('0 %');
    expect(percent(0.0001)).toBe('<0.1 %');
    expect(percent(0.004)).toBe('0.4 %');
    expect(percent(0.12)).toBe('12 %');
  });

  it('cuts ids in the middle', () => {
    expect(shortId('0199f2a1-7f3a-7c21-8000-0123456789ab')).toBe('0199…6789ab');
    expect(shortId('short')).toBe('short');
  });
});

describe('unseen characters', () => {
  const rlo = String.fromCodePoint(0x202e);
  const zwsp = String.fromCodePoint(0x200b);
  const tag = String.fromCodePoint(0xe0041);

  it('are drawn by name', () => {
    expect(pieces(`pay ${rlo}1000${zwsp}`)).toEqual([
      { text: 'pay ', unseen: false }, { text: 'RLO', unseen: true }, { text: '1000', unseen: false }, { text: 'ZWSP', unseen: true },
    ]);
    expect(pieces(tag)).toEqual([{ text: 'U+E0041', unseen: true }]);
    expect(pieces('')).toEqual([{ text: '', unseen: false }]);
  });

  it('leaves what is seen alone', () => {
    const text = 'naïve 東京 🙂 line\n\tindented';
    expect(pieces(text)).toEqual([{ text, unseen: false }]);
  });

  it('are not copied, nor is a newline at the end', () => {
    expect(copyable(`penstock runs${rlo}${zwsp}\n\n`)).toEqual({ text: 'penstock runs', removed: 2 });
    expect(copyable('a\nb')).toEqual({ text: 'a\nb', removed: 0 });
  });
});
