import { describe, expect, it } from 'vitest';

import { around, baseOf, type Draft, draftFrom, readDraft } from './draft';

const base = baseOf({
  agent: 'desk', prompts: { instructions: 'Be kind.' }, models: ['m', 'n'], settings: { max_tokens: 300, temperature: null, prompt_cache: false, extra: { a: 'x' } },
  budget: { nano: 250_000_000, steps: 9 }, policy: { 'policy.yaml': 'version: 1' }, version: '1.4', author: 'key:ada',
});
const as = (over: Partial<Draft> = {}) => readDraft({ ...draftFrom(base), ...over }, base);

it('shows what stands beside a change', () => {
  expect(around('short', true, true)).toBe('short');
  const long = `${'a'.repeat(300)}${'b'.repeat(300)}`;
  expect(around(long, true, true)).toBe(`${'a'.repeat(160)} […] ${'b'.repeat(160)}`);
  expect(around(long, false, true)).toBe(`[…] ${'b'.repeat(160)}`);
  expect(around(long, true, false)).toBe(`${'a'.repeat(160)} […]`);
});

describe('a draft', () => {
  it('is what it began with when nobody touched it', () => {
    expect(as()).toEqual({
      faults: {},
      changes: {
        prompts: { instructions: 'Be kind.' }, models: ['m', 'n'], settings: { max_tokens: 300, temperature: null, prompt_cache: false, extra: { a: 'x' } }, policy: { 'policy.yaml': 'version: 1' }, filters: null, version: '1.4',
        budget: { nano: 250_000_000, steps: 9, tokens: 0, calls: 0, attempts: 0, seconds: 0, depth: 0, fanout: 0, retries: 0 },
      },
    });
  });

  it('has what was written, as what it is', () => {
    const { changes } = as({ models: ' o \n\nm', settings: { max_tokens: '9', temperature: '0.5', prompt_cache: 'true', extra: '{}' }, budget: { ...draftFrom(base).budget, nano: '$1,200.5', seconds: '1.5', retries: '-1', steps: '' }, keepsPolicy: false });
    expect(changes).toMatchObject({ models: ['o', 'm'], settings: { max_tokens: 9, temperature: 0.5, prompt_cache: true, extra: {} }, policy: {}, budget: { nano: 1_200_500_000_000, seconds: 1.5, retries: -1, steps: 0 } });
  });

  it.each<[string, Partial<Draft>]>([
    ['models', { models: ' \n' }],
    ['models', { models: 'm\nm' }],
    ['prompt instructions', { prompts: { instructions: ' ' } }],
    ['setting max_tokens', { settings: { max_tokens: 'many' } }],
    ['setting max_tokens', { settings: { max_tokens: '12345678901234567890' } }],
    ['budget nano', { budget: { ...draftFrom(base).budget, nano: 'a lot' } }],
    ['budget steps', { budget: { ...draftFrom(base).budget, steps: '1.5' } }],
    ['filters', { filters: '[]' }],
    ['filters', { filters: '{' }],
  ])('says what cannot be: %s', (field, over) => {
    const read = as(over);
    expect(read.changes).toBeNull();
    expect(Object.keys(read.faults)).toEqual([field]);
  });

  it('keeps filters that the code says nothing of apart from having none', () => {
    expect(draftFrom(baseOf({ filters: {} })).filters).toBe('{}');
    expect(draftFrom(baseOf({})).filters).toBe('');
    expect(readDraft(draftFrom(baseOf({ filters: { a: ['x'] } })), baseOf({ filters: {} })).changes?.filters).toEqual({ a: ['x'] });
  });

  it('of a function has no models to ask for', () => {
    const plain = baseOf({ prompts: {}, models: [], settings: {}, budget: {}, policy: {}, version: '1' });
    expect(readDraft(draftFrom(plain), plain).changes?.models).toEqual([]);
  });
});
