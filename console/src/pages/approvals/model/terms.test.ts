import { describe, expect, it } from 'vitest';

import { canonicalOf, editable, fieldsOf, readFields } from './edit';
import { LOOKING, type State, step, TAKE_BACK_MS } from './decide';
import { counting, escalatesAt, quorumWords } from './terms';

const terms = (over = {}) => ({ roles: [], count: 2, escalate_to: ['lead'], escalate_after_seconds: 60, ...over });

describe('who must allow it', () => {
  it('is said with how many have', () => {
    expect(quorumWords(terms(), 0)).toBe('2 different people must allow it.');
    expect(quorumWords(terms(), 1)).toBe('1 of 2 have allowed it, needs another.');
    expect(quorumWords(terms({ count: 4 }), 1)).toBe('1 of 4 have allowed it, needs 3 others.');
    expect(quorumWords(terms({ count: 1 }), 0)).toBe('');
  });

  it('is not allowed by a vote that does not count', () => {
    const vote = { actor: 'key:a', behalf: '', at: 1, problem: '' };
    expect(counting([vote, { ...vote, actor: 'key:b', problem: 'no key of ours' }])).toBe(1);
  });

  it('is told when nobody answers, if the policy says so', () => {
    expect(escalatesAt({ terms: terms(), asked_at: 5 })).toBe(60_000_005);
    expect(escalatesAt({ terms: terms({ escalate_to: [] }), asked_at: 5 })).toBe(0);
    expect(escalatesAt({ terms: null, asked_at: 5 })).toBe(0);
  });
});

const schema = { properties: { order: { type: 'string' }, cents: { type: 'integer', description: 'what is paid' }, fast: { type: 'boolean' }, tier: { enum: ['a', 'b'] }, note: { type: 'string' } }, required: ['order', 'cents'] };
const fields = fieldsOf({ order: 'o-1', cents: 4900, fast: true, tier: 'a', more: [1, { z: 1, a: 'x' }] }, schema);
const as = (over: Record<string, string | null> = {}) => readFields(fields, { ...Object.fromEntries(fields.map((field) => [field.name, field.was])), ...over });

describe('the form of a call', () => {
  it('is by the schema, and by what is given besides', () => {
    expect(fields.map((field) => `${field.name} ${field.kind}${field.required ? ' !' : ''}`)).toEqual(['order text !', 'cents number !', 'fast boolean', 'tier choice', 'note text', 'more json']);
    expect(fieldsOf({ n: 5 }, { properties: { n: { type: 'string' } } })[0]?.kind).toBe('json');
  });

  it('gives back unchanged what nobody touched', () => {
    const read = as();
    expect('args' in read && canonicalOf(read.args)).toBe('{"cents":4900,"fast":true,"more":[1,{"a":"x","z":1}],"order":"o-1","tier":"a"}');
  });

  it('gives what was written, as what it is', () => {
    expect(as({ cents: '4800', fast: 'false', note: 'hm', more: '{"b":null}' })).toEqual({ args: { order: 'o-1', cents: 4800, fast: false, tier: 'a', note: 'hm', more: { b: null } } });
  });

  it('says what cannot be', () => {
    expect(as({ cents: '48,00', more: '{' })).toEqual({ wrong: { cents: 'no number', more: 'no JSON' } });
    for (const cents of ['', ' ', '0x10', '1e999', 'NaN']) expect(as({ cents })).toHaveProperty('wrong');
    expect(as({ cents: '4.5' })).toEqual({ wrong: { cents: 'no whole number' } });
    expect(as({ order: null })).toEqual({ wrong: { order: 'it is needed' } });
  });

  it('is not there for what a browser would change', () => {
    expect(editable('{"a":9007199254740993}')).toBeNull();
    expect(editable('[1]')).toBeNull();
    expect(editable('{"a":1,"b":"\\u0001"}')).toEqual({ a: 1, b: '\u0001' });
  });
});

describe('deciding with other arguments', () => {
  const choose = { kind: 'choose', choice: 'edit', armed: true, repeat: false, highRisk: false, at: 0 } as const;
  const editing: State = step(LOOKING, choose);

  it('always has a second step, and binds what was written', () => {
    expect(editing.kind).toBe('editing');
    const confirming = step(editing, { kind: 'edited', args: { a: 1 } });
    expect(confirming).toMatchObject({ kind: 'confirming', choice: 'edit', args: { a: 1 } });
    const sending = step(confirming, { kind: 'confirm', repeat: false, at: 10 });
    expect(step(sending, { kind: 'due', at: 10 + TAKE_BACK_MS })).toMatchObject({ kind: 'posting', choice: 'edit', args: { a: 1 } });
  });

  it('ends when the question changes, and is kept when one looks elsewhere', () => {
    expect(step(editing, { kind: 'changed' }).kind).toBe('locked');
    expect(step(editing, { kind: 'left' })).toBe(editing);
    expect(step(LOOKING, { kind: 'edited', args: {} })).toBe(LOOKING);
  });

  it('one vote of several is on the record, and waits', () => {
    const posting: State = { kind: 'posting', choice: 'approve', reason: '', args: null };
    expect(step(posting, { kind: 'taken', actor: 'key:me', at: 0, missing: 1 })).toMatchObject({ kind: 'done', missing: 1 });
  });

  it('an answer in words is asked for before it is sent', () => {
    expect(step(LOOKING, { ...choose, choice: 'answer' })).toMatchObject({ kind: 'reasons', choice: 'answer' });
  });
});
