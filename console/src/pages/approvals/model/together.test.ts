import { describe, expect, it } from 'vitest';

import { ApiProblem } from '@/api/problem';
import type { ApprovalAlike } from '@/api/schema';

import { columnsOf, membersOf, sumsOf } from './columns';
import { TAKE_BACK_MS } from './decide';
import { boundTo, groupsOf, LOOKING, resultOf, type State, step, stillThere, TOGETHER_MAX, TRIES, whyAlone } from './together';

const ME = 'key:me';
const question = (id: string, over: Partial<ApprovalAlike> = {}): ApprovalAlike => ({
  id, run: 'r', agent: 'desk', tool: 'refund', path: '1', question: 'may_run', risk: 'high', summary: 's', customer: '', digest: `d${id}`, version: 1,
  asked_at: 1, expires: 0, mine: true, why_not: '', seen_by: [], terms: null, votes: [], holder: '', group: 'g', again: '', args: '{"cents":4900,"order":"1"}', hidden: '', ...over,
});
const members = (text: string): ReadonlyMap<string, string> => membersOf(text) ?? new Map();
const [a, b] = [question('a'), question('b')];

describe('arguments of several calls', () => {
  it('are taken apart as they are written', () => {
    expect([...members('{"a":9007199254740993,"b":"},\\"{","c":{"d":[1,{"e":"]"}]},"f\\u0000":null}')]).toEqual([['a', '9007199254740993'], ['b', '"},\\"{"'], ['c', '{"d":[1,{"e":"]"}]}'], ['f\u0000', 'null']]);
    expect(membersOf('{}')?.size).toBe(0);
    expect(membersOf('[1]')).toBeNull();
    expect(membersOf('7')).toBeNull();
  });

  it('are what all have alike, and what differs', () => {
    const calls = ['{"cents":1,"order":"7"}', '{"cents":1,"order":"8"}', '{"cents":1}'].map(members);
    expect(columnsOf(calls)).toEqual({ same: [['cents', '1']], differing: ['order'] });
    expect(columnsOf(['{"a":1}', '{"a":1.0}'].map(members)).differing).toEqual(['a']);
    expect(columnsOf(['{"a":null}', '{}'].map(members)).differing).toEqual(['a']);
  });

  it('come to a sum where they are named as cents', () => {
    const calls = ['{"cents":4900,"n":1}', '{"cents":100,"n":2}'].map(members);
    expect(sumsOf(calls, ['cents', 'n'])).toEqual(['cents: 50.00 in all']);
    expect(sumsOf(['{"cents":-5}'].map(members), ['cents'])).toEqual(['cents: −0.05 in all']);
    for (const odd of ['{"cents":"4"}', '{"cents":1.5}', '{}', '{"cents":12345678901234567}']) expect(sumsOf([...calls, members(odd)], ['cents'])).toEqual([]);
  });
});

const choose = { kind: 'choose', answer: 'approve', armed: true, repeat: false, bound: [boundTo(a), boundTo(b)] } as const;
const sent = (): State => [choose, { kind: 'reason', reason: ' fine ', repeat: false }, { kind: 'confirm', repeat: false, at: 0 }, { kind: 'due', at: TAKE_BACK_MS }].reduce<State>((state, event) => step(state, event as Parameters<typeof step>[1]), LOOKING);

describe('deciding on several', () => {
  it('takes a choice, a reason, a second step, and the time to take it back', () => {
    expect(step(LOOKING, { ...choose, armed: false })).toBe(LOOKING);
    expect(step(LOOKING, { ...choose, repeat: true })).toBe(LOOKING);
    expect(step(LOOKING, { ...choose, bound: [] })).toBe(LOOKING);
    expect(step(LOOKING, { ...choose, bound: Array.from({ length: TOGETHER_MAX + 1 }, () => boundTo(a)) })).toBe(LOOKING);
    const asked = step(LOOKING, choose);
    expect(asked).toMatchObject({ kind: 'reason' });
    expect(step(asked, { kind: 'reason', reason: ' ', repeat: false })).toBe(asked);
    const confirming = step(asked, { kind: 'reason', reason: 'ok', repeat: false });
    expect(step(confirming, { kind: 'confirm', repeat: true, at: 0 })).toBe(confirming);
    const sending = step(confirming, { kind: 'confirm', repeat: false, at: 0 });
    expect(step(sending, { kind: 'due', at: TAKE_BACK_MS - 1 })).toBe(sending);
    expect(step(sending, { kind: 'back' })).toEqual({ kind: 'looking', note: 'taken back: nothing was sent' });
    expect(step(sending, { kind: 'left' }).kind).toBe('looking');
    expect(step(sending, { kind: 'changed' }).kind).toBe('looking');
    expect(sent()).toMatchObject({ kind: 'posting', at: 0, reason: 'fine' });
  });

  it('goes through them one by one, and past those that are refused', () => {
    const second = step(sent(), { kind: 'came', id: 'a', unsure: false });
    expect(second).toMatchObject({ kind: 'posting', at: 1 });
    expect(step(second, { kind: 'came', id: 'a', unsure: false })).toBe(second);
    expect(step(second, { kind: 'changed' })).toBe(second);
    expect(step(second, { kind: 'came', id: 'b', unsure: false })).toMatchObject({ kind: 'over', at: 2 });
  });

  it('asks again where no answer came, and sends no other before one knows', () => {
    let state = sent();
    for (let n = 1; n < TRIES; n++) {
      state = step(state, { kind: 'came', id: 'a', unsure: true });
      expect(state).toMatchObject({ kind: 'posting', at: 0, tries: n });
    }
    state = step(state, { kind: 'came', id: 'a', unsure: true });
    expect(state).toMatchObject({ kind: 'over', at: 0, unsure: true });
    expect(step(state, { kind: 'again' })).toMatchObject({ kind: 'posting', at: 0, tries: 0 });
  });

  it('can be stopped: the others are not sent, and can be gone on with', () => {
    const stopped = step(step(sent(), { kind: 'stop' }), { kind: 'came', id: 'a', unsure: false });
    expect(stopped).toMatchObject({ kind: 'over', at: 1, unsure: false });
    expect(step(stopped, { kind: 'again' })).toMatchObject({ kind: 'posting', at: 1 });
    expect(step(stopped, { kind: 'fresh' })).toBe(LOOKING);
  });

  it('is bound to what was seen', () => {
    const bound = [boundTo(a), boundTo(b)];
    expect(stillThere(bound, [b, a, question('c')])).toBe(true);
    expect(stillThere(bound, [a])).toBe(false);
    expect(stillThere(bound, [a, { ...b, version: 2 }])).toBe(false);
    expect(stillThere(bound, [a, { ...b, args: '{}' }])).toBe(false);
  });

  it('leaves out what is to be read by itself', () => {
    const why = (over: Partial<ApprovalAlike>): string => whyAlone(question('a', over), ['order'], ME, 100);
    expect(why({})).toBe('');
    expect(why({ holder: ME })).toBe('');
    for (const over of [{ hidden: 'forbidden' }, { holder: 'key:b' }, { mine: false }, { expires: 100 }, { args: '[]' }, { args: `{"order":"${'x'.repeat(700)}"}` }]) expect(why(over)).not.toBe('');
  });

  it('says of each what became of it', () => {
    const of = (code: string, status: number, fields = {}) => resultOf(new ApiProblem({ title: 't', code, status, fields }), ME, 'approve');
    expect(of('approval_decided', 409, { actor: ME, decision: 'approve' })).toEqual({ kind: 'done', answer: 'approve', missing: 0 });
    expect(of('approval_decided', 409, { actor: ME, decision: 'deny' }).kind).toBe('lost');
    expect(of('approval_decided', 409, { actor: 'key:b', decision: 'approve' })).toEqual({ kind: 'lost', actor: 'key:b', decision: 'approve' });
    expect(of('approval_twice', 409, { allowed: [ME], needed: 3 })).toEqual({ kind: 'done', answer: 'approve', missing: 2 });
    expect(of('approval_changed', 409)).toEqual({ kind: 'refused', words: 't' });
    expect(of('unreachable', 0).kind).toBe('unsure');
    expect(of('unexpected', 503).kind).toBe('unsure');
  });
});

it('finds what may be decided together', () => {
  expect(groupsOf([a, question('c', { group: '' }), question('d', { mine: false }), question('e', { group: 'h' })])).toEqual([]);
  expect(groupsOf([a, b, question('d', { mine: false })])).toEqual([{ group: 'g', tool: 'refund', agent: 'desk', count: 2 }]);
});
