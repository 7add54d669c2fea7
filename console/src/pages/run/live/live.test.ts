import { QueryClient } from '@tanstack/react-query';
import { describe, expect, it, vi } from 'vitest';

import { keys } from '@/api/keys';
import type { RunShown } from '@/api/schema';
import { patchAll } from '@/app/live/patch';

import { below, RUN, STATE, type TraceModel } from '../model/trace';
import { newer } from '../queries';
import { S, sample } from '../sample';
import { applyEvents, type RunEvent } from './apply';
import './patch';
import { withoutPaths, withTokens } from './tokens';

const event = (seq: number, kind: string, path: string, body: RunEvent['body'] = {}): RunEvent => ({ seq, at: seq * S, kind, path, line: `${kind} ${path}`, body });
const begun = (): TraceModel => sample([{ kind: 'model', name: 'gpt', status: 'open', duration: -1 }], { ended: false });

describe('events put into the trace', () => {
  it('end a call with its cost, and begin the next', () => {
    const { model } = applyEvents(begun(), [
      event(4, 'model.outcome', '0', { status: 'ok', used: { tokens_in: 900, tokens_out: 60, nano: 7 } }),
      event(5, 'tool.intent', '1', { tool: 'refund', reserved: { nano: 50 } }),
      event(6, 'approval.requested', '1', { tool: 'refund' }),
    ]);
    expect([model.duration[0], model.state[0], model.nano[0], model.tokens[0]]).toEqual([4 * S, STATE.ok, 7, 960]);
    expect([model.names[model.name[1] ?? 0], model.state[1], model.verdict[1], model.duration[1]]).toEqual(['refund', STATE.held, 2, -1]);
    expect(model.asOf).toBe(6);
    expect([...below(model, RUN)]).toEqual([0, 1]);
    expect(model.budget.map(({ nano, reserved_nano }) => [nano, reserved_nano])).toEqual([[7, 0], [7, 50]]);
  });

  it('take an attempt that is made again for one that goes on', () => {
    const { model } = applyEvents(begun(), [event(4, 'model.outcome', '0', { status: 'error', again: true })]);
    expect([model.state[0], model.duration[0]]).toEqual([STATE.open, -1]);
  });

  it('make a group of branches, before what is in it', () => {
    const { model } = applyEvents(begun(), [event(4, 'tool.intent', '4.0.1', { tool: 'a' }), event(5, 'tool.intent', '4.1.1', { tool: 'b' })]);
    expect(model.path).toEqual(['0', '4', '4.0.1', '4.1.1']);
    expect([...below(model, 1)]).toEqual([2, 3]);
    expect(model.kinds[model.kind[1] ?? 0]).toBe('gather');
  });

  it('are left out when one is missing before them, and that is said', () => {
    const before = begun();
    expect(applyEvents(before, [event(6, 'tool.intent', '1')])).toEqual({ model: before, gap: true });
    expect(applyEvents(before, [event(2, 'tool.intent', '1')])).toEqual({ model: before, gap: false });
  });

  it('of the run are marks, and its end ends it', () => {
    const { model } = applyEvents(begun(), [event(4, 'run.parked', '0'), event(5, 'run.ended', '')]);
    expect(model.events.map((mark) => mark.kind)).toEqual(['run.parked', 'run.ended']);
    expect(model.ended).toBe(true);
    expect(model.count).toBe(1);
  });

  it('grow a long trace without copying it each time', () => {
    let model = begun();
    const buffers = new Set<ArrayBufferLike>();
    for (let i = 0; i < 2_000; i++) {
      ({ model } = applyEvents(model, [event(4 + i, 'note.recorded', String(i + 1), { name: 'n' })]));
      buffers.add(model.start.buffer);
    }
    expect(model.count).toBe(2_001);
    expect(model.start[2_000]).toBe(2_003 * S);
    expect(buffers.size).toBeLessThan(10);
  });
});

describe('two readings of a trace', () => {
  it('the stream may be ahead: then only what the server reckons is taken', () => {
    const { model: ahead } = applyEvents(begun(), [event(4, 'tool.intent', '1', { tool: 'a' })]);
    const read = sample([{ kind: 'model', status: 'open', duration: -1 }], { ended: false, critical_share: { model: 1 } });
    expect(newer(ahead, read)).toMatchObject({ asOf: 4, count: 2, critical_share: { model: 1 } });
    expect(newer(undefined, read)).toBe(read);
    expect(newer(begun(), { ...read, asOf: 9 })).toMatchObject({ asOf: 9 });
  });
});

describe('words on their way', () => {
  const said = (offset: number, text: string, extra = {}) => ({ path: '0', attempt: 1, offset, text, reset: false, ...extra });

  it('are put together, and those that came twice count once', () => {
    const all = withTokens(withTokens(new Map(), [said(0, 'I will ')]), [said(5, 'l refund'), said(13, ' it')]);
    expect(all.get('0')?.text).toBe('I will refund it');
  });

  it('begin anew with another attempt, and one that is over says nothing more', () => {
    const all = withTokens(new Map(), [said(0, 'old'), said(0, 'new', { attempt: 2 }), said(3, 'late')]);
    expect(all.get('0')?.text).toBe('new');
    expect(withTokens(all, [said(0, '', { attempt: 2, reset: true })]).get('0')?.text).toBe('');
  });

  it('say when some of them were missed', () => {
    expect(withTokens(new Map(), [said(0, 'a'), said(9, 'b')]).get('0')).toMatchObject({ text: 'a…b', cut: true });
  });

  it('are bounded, and gone when the answer is there', () => {
    const all = withTokens(new Map(), [said(0, 'x'.repeat(50_000)), said(50_000, 'y')]);
    expect(all.get('0')?.text.length).toBe(20_000);
    expect(all.get('0')?.cut).toBe(true);
    expect(withoutPaths(all, ['0']).size).toBe(0);
  });
});

describe('the stream of a run', () => {
  const run = { id: 'r', status: 'running', shown: 'running', last_seq: 3, nano: 0 } as RunShown;
  const message = (name: string, data: unknown) => ({ kind: 'message' as const, topic: 'run:r', event: name, data });

  it('patches the trace and the run, and reads again what no event tells', () => {
    const client = new QueryClient();
    const invalidate = vi.spyOn(client, 'invalidateQueries').mockResolvedValue();
    client.setQueryData(keys.run('r'), run);
    client.setQueryData(keys.trace('r'), begun());
    patchAll(client, [message('event', event(4, 'model.outcome', '0', { status: 'ok' })), message('status', { run: 'r', seq: 4, status: 'ended', outcome: 'succeeded', stop: null, nano: 5, reserved_nano: 0 })]);
    expect(client.getQueryData<TraceModel>(keys.trace('r'))?.state[0]).toBe(STATE.ok);
    expect(client.getQueryData<RunShown>(keys.run('r'))).toMatchObject({ id: 'r', shown: 'succeeded', nano: 5, last_seq: 4 });
    expect(invalidate.mock.calls.map(([asked]) => asked?.queryKey)).toEqual(expect.arrayContaining([keys.run('r'), keys.span('r', '0')]));
  });

  it('reads the trace again after a gap', () => {
    const client = new QueryClient();
    const invalidate = vi.spyOn(client, 'invalidateQueries').mockResolvedValue();
    client.setQueryData(keys.trace('r'), begun());
    patchAll(client, [message('event', event(9, 'tool.intent', '1'))]);
    expect(invalidate).toHaveBeenCalledWith({ queryKey: keys.trace('r') });
  });
});
