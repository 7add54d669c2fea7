import { describe, expect, it } from 'vitest';

import type { BreakerCondition } from '@/api/schema';

import { circuitWords, conditionWords, evidenceOf, figureWords, meanwhileWords, scopeWords, span, stateOf } from './model/words';

const condition = (over: Partial<BreakerCondition> & Pick<BreakerCondition, 'kind'>): BreakerCondition => ({ limit: 0, calls: 0, seconds: 0, expected: 0, of: 'call', slow_seconds: 0, baseline: 0, ...over });

describe('a condition in words', () => {
  it.each([
    [condition({ kind: 'failures', limit: 5 }), '5 calls in a row fail'],
    [condition({ kind: 'cost_mean', limit: 2, calls: 20, baseline: 100 }), 'the last 20 calls cost on average more than 2 times what the first 100 did'],
    [condition({ kind: 'cost_mean', limit: 2, calls: 20, expected: 50_000_000, of: 'run' }), 'the last 20 runs cost on average more than 2 times the $0.0500 expected'],
    [condition({ kind: 'cost_rate', limit: 5_000_000_000, seconds: 600 }), 'more than $5.00 within 10 min'],
    [condition({ kind: 'error_rate', limit: 0.5, calls: 20, seconds: 60 }), 'more than 50 % of at least 20 calls within 60 s fail'],
    [condition({ kind: 'latency', limit: 0.05, calls: 20, seconds: 60, slow_seconds: 30 }), 'more than 5 % of at least 20 calls within 60 s take over 30 s'],
    [condition({ kind: 'drift', baseline: 200 }), 'answers drift away from the first 200'],
  ])('%#', (one, words) => expect(conditionWords(one)).toBe(words));
});

describe('words of a breaker', () => {
  it('names what it watches and its circuits', () => {
    expect(scopeWords('task_type', '*')).toBe('each task type');
    expect(scopeWords('tool', 'refund')).toBe('tool refund');
    expect(circuitWords('customer', '(other)')).toBe('all other customers');
  });

  it('says what happens meanwhile', () => {
    expect(meanwhileWords('fail', '')).toBe('calls are denied');
    expect(meanwhileWords('fallback', 'house-model')).toBe('house-model is asked instead');
    expect(meanwhileWords('queue', '')).toContain('park');
  });

  it('stands as the worst of its circuits', () => {
    expect(stateOf({ open: 1, half_open: 2 })).toBe('open');
    expect(stateOf({ open: 0, half_open: 1 })).toBe('half_open');
    expect(stateOf({ open: 0, half_open: 0 })).toBe('closed');
  });

  it.each([[0.5, '0.5 s'], [60, '60 s'], [600, '10 min'], [7200, '2 h']])('%d seconds', (seconds, words) => expect(span(seconds)).toBe(words));

  it('shows figures in their units', () => {
    expect(figureWords('mean_nano', 9_830_000.4, 'cost_mean')).toEqual(['mean', '$0.00983']);
    expect(figureWords('limit', 5_000_000_000, 'cost_rate')).toEqual(['limit', '$5.00']);
    expect(figureWords('limit', 0.5, 'error_rate')).toEqual(['limit', '50 %']);
    expect(figureWords('factor', 2.25, 'cost_mean')).toEqual(['allowed factor', '2.25']);
    expect(figureWords('evidence', 31_000_000, 'cost_mean')[1]).toBe('31,000,000 calls');
  });
});

describe('the record of a trip', () => {
  it('is read as far as it can be', () => {
    const found = evidenceOf({ evidence: { condition: 'failures', words: 7, figures: { failures: 5, note: 'x' }, calls: [{ run: 'r', nano: 3, latency_us: Number.NaN }, null, 'x'] } });
    expect(found.words).toBe('');
    expect(found.figures).toEqual([['failures', 5]]);
    expect(found.calls[0]).toEqual({ run: 'r', name: '', nano: 3, latency: 0, failure: '' });
    expect(found.calls).toHaveLength(3);
  });

  it('of nothing has nothing', () => expect(evidenceOf({ evidence: {} })).toEqual({ condition: '', words: '', figures: [], calls: [] }));
});
