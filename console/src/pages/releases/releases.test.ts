import { describe, expect, it } from 'vitest';

import type { ReleaseLine, ReleaseShown } from '@/api/schema';

import { byAgent, goBackTo, isSchemaChange, lineKind, mayDecide, percentWords, plan, readPercent, short, type State, submitter } from './model/states';
import { isDigest, isTool } from './model/tool';

const A = 'a'.repeat(64);
const B = 'b'.repeat(64);
const C = 'c'.repeat(64);
const route = (live: string, canary = '') => ({ agent: 'desk', live, canary, percent: canary === '' ? 0 : 5 });
const line = (id: string, state: State, agent = 'desk'): ReleaseLine => ({ id, agent, state, percent: 0, author: 'key:ada', approved_by: '', key: 'k', drafted_at: 1, at: 2, objection: '' });
const release = (state: State, over: Partial<ReleaseShown> = {}): ReleaseShown => ({ ...line(A, state), manifest: null, steps: [], refusals: [], route: route(''), keys: [], problem: '', ...over });
const step = (number: number, state: State, actor: string) => ({ number, at: number, state, percent: 0, actor, reason: '' });
const may = (one: ReleaseShown, actor: string, ...rights: string[]) => mayDecide(one, { actor, can: (right) => rights.includes(right) });
const BOTH = ['releases:manage', 'releases:approve'] as const;

describe('what somebody may decide', () => {
  it.each<[State, string[]]>([
    ['draft', ['submit', 'retire']],
    ['review', ['approve', 'reject', 'retire']],
    ['approved', ['reject', 'canary', 'promote', 'retire']],
    ['canary', ['canary', 'promote', 'retire']],
    ['live', ['retire']],
    ['retired', ['canary', 'promote']],
    ['rejected', ['submit', 'retire']],
    ['rolled_back', ['submit']],
  ])('of %s', (state, acts) => expect(may(release(state), 'key:ben', ...BOTH).acts).toEqual(acts));

  it('is never the approval of what one drafted or put up oneself', () => {
    const own = may(release('review'), 'key:ada', ...BOTH);
    expect(own.acts).not.toContain('approve');
    expect(own.why).toEqual(['You drafted it: somebody else approves it.']);
    const steps = [step(1, 'draft', 'key:ada'), step(2, 'review', 'key:cyn'), step(3, 'rejected', 'key:ben'), step(4, 'review', 'key:ben')];
    expect(submitter({ steps })).toBe('key:ben');
    expect(may(release('review', { steps }), 'key:ben', ...BOTH).acts).not.toContain('approve');
    expect(may(release('review', { steps }), 'key:cyn', ...BOTH).acts).toContain('approve');
  });

  it('takes the right', () => {
    const found = may(release('approved'), 'key:ben', 'releases:approve');
    expect(found.acts).toEqual(['reject']);
    expect(found.why).toContain('To promote it takes the right releases:manage.');
  });

  it('is nothing that believes a signature which does not count', () => {
    expect(may(release('review', { objection: 'no such key' }), 'key:ben', ...BOTH).acts).toEqual(['reject', 'retire']);
    expect(may(release('approved', { objection: 'no such key' }), 'key:ben', ...BOTH).acts).toEqual(['reject', 'retire']);
  });

  it('waits for another canary', () => {
    const found = may(release('approved', { route: route(B, C) }), 'key:ben', ...BOTH);
    expect(found.acts).toEqual(['reject', 'retire']);
    expect(found.why).toEqual([`${short(C)} is the canary: promote it or roll it back first.`]);
  });
});

describe('a rollback', () => {
  it('leads away from the canary first', () => {
    expect(plan(route(B, C), '')).toEqual({ bad: [C], then: `release ${short(B)}` });
    expect(plan(route('', C), '')).toEqual({ bad: [C], then: 'the code as it is offered' });
  });

  it('else from what is live, to what was before', () => expect(plan(route(B), '')).toEqual({ bad: [B], then: 'what was live before' }));

  it('to the code leads away from both', () => expect(plan(route(B, C), 'offered')).toEqual({ bad: [C, B], then: 'the code as it is offered' }));

  it('to one leads away from all others', () => {
    expect(plan(route(B, C), A)).toEqual({ bad: [C, B], then: `release ${short(A)}` });
    expect(plan(route(B, C), B).bad).toEqual([C]);
  });

  it('of nothing in use reaches nothing', () => expect(plan(route(''), '').bad).toEqual([]));

  it('goes by name only to what was approved, of this agent', () => {
    const all = [line(A, 'retired'), line(B, 'rolled_back'), line(C, 'approved'), line('d'.repeat(64), 'retired', 'other'), line('e'.repeat(64), 'live')];
    expect(goBackTo(all, 'desk').map((one) => one.id)).toEqual([A, C]);
  });
});

describe('a share', () => {
  it.each([['5', 5], ['5 %', 5], ['0.01', 0.01], ['99.99%', 99.99], ['0', null], ['100', null], ['-5', null], ['5e1', null], ['', null], ['1.234', null]])('%j', (text, value) => expect(readPercent(text)).toBe(value));

  it('is written as it was given', () => {
    expect(percentWords(5)).toBe('5 %');
    expect(percentWords(0.07)).toBe('0.07 %');
    expect(percentWords(33.330000000000005)).toBe('33.33 %');
  });
});

it('puts releases to their agents, in the order in which they came', () => {
  const found = byAgent([line(A, 'draft', 'b'), line(B, 'live', 'a'), line(C, 'live', 'b')]);
  expect([...found.keys()]).toEqual(['b', 'a']);
  expect(found.get('b')?.map((one) => one.id)).toEqual([A, C]);
});

it('tells text that came from text that went, in prompts only', () => {
  expect(lineKind('prompt instructions', '+ You are kind.')).toBe('added');
  expect(lineKind('prompt instructions', '- You are brief.')).toBe('removed');
  expect(lineKind('prompt instructions', 'line 2:')).toBe('words');
  expect(lineKind('policy', '- x')).toBe('words');
});

it('marks tools whose schema or effect is another, not those with other code', () => {
  expect(isSchemaChange('tools', 'refund has another name, description or schema')).toBe(true);
  expect(isSchemaChange('tools', 'refund is a write, was a read')).toBe(true);
  expect(isSchemaChange('tools', 'refund is new: write')).toBe(true);
  expect(isSchemaChange('tools', 'refund is gone')).toBe(true);
  expect(isSchemaChange('tools', 'refund has other code, with the same schema')).toBe(false);
  expect(isSchemaChange('budget', 'refund is gone')).toBe(false);
});

it('knows a tool of a server and a digest', () => {
  expect([isTool('shop/refund'), isTool('refund'), isTool('/refund'), isTool('shop/')]).toEqual([true, false, false, false]);
  expect([isDigest(`sha256:${A}`), isDigest(A), isDigest(`sha256:${A}0`), isDigest(`sha256:${'A'.repeat(64)}`)]).toEqual([true, false, false, false]);
});
