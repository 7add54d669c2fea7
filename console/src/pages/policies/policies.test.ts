import { describe, expect, it } from 'vitest';

import type { PolicyRuleShown } from '@/api/schema';

import { added, bodyOf, FIRST, wrongWith } from './model/draft';
import { approversWords, conditionsOf, excerpt, filesWords, isOld, matching, offsetOf, replayOf, reviewedDays, valueWords } from './model/words';

const NOW = Date.UTC(2026, 10, 22, 4) * 1000;
const rule = (over: Partial<PolicyRuleShown>): PolicyRuleShown => ({ name: 'r', owner: 'finance', reviewed: '2026-11-09', reason: '', when: {}, unless: {}, then: 'hold', approvers: null, file: 'a.yaml', line: 3, ...over });

describe('a rule in words', () => {
  it.each([
    ['refund', 'refund'],
    [['send_reply', 'escalate'], 'send_reply, escalate'],
    [{ min: 1, max: 5000 }, 'min 1; max 5000'],
    [{ not: ['a', 'b'] }, 'not a, b'],
    [null, 'null'],
    [false, 'false'],
  ])('%j', (value, words) => expect(valueWords(value)).toBe(words));

  it('is never cut: a call is held to all of it', () => {
    const names = Array.from({ length: 60 }, (_, i) => `tool_${i}`);
    expect(valueWords(names).split(', ')).toEqual(names);
    expect(conditionsOf({ tool: 'x'.repeat(500) })[0]?.[1]).toHaveLength(500);
  });

  it('says who must allow, by when, and who is told', () => {
    expect(approversWords(null)).toBe('');
    expect(approversWords({ roles: ['finance'], count: 2, seconds: 86_400, escalate_to: ['finance-lead'], escalate_after_seconds: 5400 })).toBe(
      '2 different people of finance must allow it; within 1 d; after 1 h 30 min finance-lead are told too',
    );
    expect(approversWords({ roles: [], count: 1, seconds: 0, escalate_to: [] })).toBe('one of those who may decide must allow it');
    expect(approversWords({ roles: 7, count: Number.NaN })).toContain('one of');
  });
});

describe('when a rule was reviewed', () => {
  it('counts days, and marks what is older than half a year', () => {
    expect(reviewedDays('2026-11-22', NOW)).toBe(0);
    expect(reviewedDays('2026-11-09', NOW)).toBe(13);
    expect(isOld('2026-05-26', NOW)).toBe(false);
    expect(isOld('2026-05-25', NOW)).toBe(true);
  });

  it('takes a date that cannot be read for old', () => {
    expect(reviewedDays('soon', NOW)).toBeNull();
    expect(reviewedDays('2026-99-99', NOW)).toBeNull();
    expect(isOld('soon', NOW)).toBe(true);
  });
});

it('finds rules by what they say, whatever its letters', () => {
  const rules = [rule({ name: 'small', when: { tool: 'refund' } }), rule({ name: 'other', unless: { agent: 'Desk' } })];
  const names = (find: string): string[] => matching(rules, find).map((one) => one.name);
  expect(names('REFUND')).toEqual(['small']);
  expect(names(' desk ')).toEqual(['other']);
  expect(names('')).toEqual(['small', 'other']);
  expect(names('no such')).toEqual([]);
});

describe('the place of a mistake', () => {
  const text = 'version: 1\r\nrules:\n  - tol: x\n\u{1F600}ab: 1';

  it('is shown with its line', () => {
    expect(excerpt(text, 3, 5)).toEqual({ line: '  - tol: x', mark: '    ^' });
    expect(excerpt(text, 1, 1)).toEqual({ line: 'version: 1', mark: '^' });
    expect(excerpt('\tx', 1, 2)?.mark).toBe('\t^');
    expect(excerpt(text, 9, 1)).toBeNull();
  });

  it('is found in the text, characters counted as the server counts them', () => {
    const area = text.replace(/\r\n/g, '\n');
    expect(area.slice(offsetOf(area, 3, 5)).startsWith('tol')).toBe(true);
    expect(area.slice(offsetOf(area, 4, 2)).startsWith('ab')).toBe(true);
    expect(offsetOf(area, 99, 1)).toBe(area.length);
  });
});

describe('a text that is written', () => {
  it('takes loaded files in the place of the empty one and of those of the same name', () => {
    expect(added([FIRST], [{ name: 'a.yaml', text: '1' }])).toEqual([{ name: 'a.yaml', text: '1' }]);
    expect(added([{ name: 'a.yaml', text: '1' }, { name: 'b.yaml', text: '2' }], [{ name: 'a.yaml', text: '3' }])).toEqual([{ name: 'b.yaml', text: '2' }, { name: 'a.yaml', text: '3' }]);
    expect(added([FIRST], [])).toEqual([FIRST]);
  });

  it('says why it cannot be looked at', () => {
    expect(wrongWith([FIRST])).toContain('no text');
    expect(wrongWith([{ name: '', text: 'x' }])).toContain('no name');
    expect(wrongWith([{ name: 'a', text: 'x' }, { name: 'a', text: 'y' }])).toContain('named a');
    expect(wrongWith([{ name: 'a', text: '\u00e9'.repeat(600_000) }])).toContain('larger');
    expect(wrongWith([{ name: 'a', text: 'x' }])).toBe('');
    expect(bodyOf([{ name: 'a', text: 'x' }], 7)).toEqual({ files: { a: 'x' }, prove: true, replay_days: 7, replay_runs: 200 });
  });
});

it('reads a replay as far as it can be', () => {
  const found = replayOf({ changes: [{ was: 'hold', now: 'allow', tool: 'refund', calls: 30 }, {}], examples: [{ run: 7, at: 'x' }] });
  expect(found.changes).toEqual([{ was: 'hold', now: 'allow', tool: 'refund', calls: 30 }, { was: '', now: '', tool: '', calls: 0 }]);
  expect(found.examples).toEqual([{ was: '', now: '', tool: '', run: '', path: '', rule: '', at: 0 }]);
});

it('names files, of many the first', () => {
  expect(filesWords([])).toBe('');
  expect(filesWords(['a.yaml'])).toBe('in a.yaml');
  expect(filesWords('abcdefgh'.split(''))).toBe('in 8 files: a, b, c, d, e, f, …');
});
