import { expect, it } from 'vitest';

import { inUnits, laidOut, numberOf } from './canonical';

it('adds white space and takes nothing away', () => {
  const text = '{"a":[1,2.50000000000000000001,{"b":"x, {y}: \\"z\\\\"}],"a":{},"e":[],"u":"\u202e"}';
  const shown = laidOut(text);
  expect(shown.split('\n').length).toBeGreaterThan(6);
  expect(shown).toContain('2.50000000000000000001');
  expect(shown).toContain('"x, {y}: \\"z\\\\"');
  expect(shown.replace(/\n */g, '').replaceAll('": ', '":')).toBe(text.replaceAll('": ', '":'));
});

it('shows what is no JSON as it is', () => {
  expect(laidOut('plain words')).toBe('plain words');
  expect(laidOut('"open')).toBe('"open');
});

it('says amounts in cents as people read them', () => {
  expect(inUnits('{"amount_cents":1278100,"cents":5,"percents":7,"fee_cents":-150}')).toEqual([
    { name: 'amount_cents', words: '12,781.00 (1,278,100 cents)' },
    { name: 'cents', words: '0.05 (5 cents)' },
    { name: 'fee_cents', words: '−1.50 (-150 cents)' },
  ]);
  expect(inUnits('{"cents":9007199254740993}')).toEqual([]);
  expect(inUnits('[1]')).toEqual([]);
  expect(inUnits('no json')).toEqual([]);
});

it('says a number beside its like in the same unit', () => {
  expect(numberOf('amount_cents', 1724)).toBe('17.24');
  expect(numberOf('cents', 2200.5)).toBe('22.01');
  expect(numberOf('percents', 12_000.25)).toBe('12,000.25');
});
