import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { Hub, RUNS_MAX } from './hub';
import type { FromHub, LiveMessage, LiveState, Port } from './protocol';
import { StreamRefused, type StreamSink } from './sse';

const RUN = '0199f2a1-7f3a-7c21-8000-0123456789ab';

interface Connection {
  readonly topics: readonly string[];
  readonly lastEventId: string;
  readonly sink: StreamSink;
  readonly signal: AbortSignal;
  readonly fail: (error: unknown) => void;
  readonly end: () => void;
}

class Tab implements Port {
  readonly heard: LiveMessage[] = [];
  live: LiveState | null = null;

  post(message: FromHub): void {
    if (message.kind === 'state') this.live = message.live;
    else this.heard.push(message);
  }

  take(): string[] {
    return this.heard.splice(0).map((message) => `${message.topic}/${message.event}`);
  }
}

let connections: Connection[];
let hub: Hub;

beforeEach(() => {
  vi.useFakeTimers();
  connections = [];
  hub = new Hub(
    (topics, lastEventId, sink, signal) =>
      new Promise((end, fail) => connections.push({ topics, lastEventId, sink, signal, fail, end })),
  );
});
afterEach(() => vi.useRealTimers());

function tab(...topics: (string | [string, number])[]): Tab {
  const made = new Tab();
  hub.add(made);
  want(made, ...topics);
  return made;
}

function want(port: Tab, ...topics: (string | [string, number])[]): void {
  const all = topics.map((topic) => (typeof topic === 'string' ? { topic, after: 0 } : { topic: topic[0], after: topic[1] }));
  hub.receive(port, { kind: 'topics', topics: all });
}

async function latest(): Promise<Connection> {
  await vi.advanceTimersByTimeAsync(40);
  const connection = connections.at(-1);
  if (!connection) throw new Error('no connection was made');
  return connection;
}

const say = (connection: Connection, event: string, data: unknown): void => connection.sink.event({ id: '', event, data: JSON.stringify(data) });

describe('the hub', () => {
  it('makes one connection for all tabs, and hands each what it asked for', async () => {
    const a = tab('overview', 'runs');
    const b = tab('approvals');
    const connection = await latest();
    expect(connections).toHaveLength(1);
    expect(connection.topics).toEqual(['approvals', 'overview', 'runs']);
    connection.sink.open();
    say(connection, 'runs', { changed: [] });
    say(connection, 'approvals', {});
    expect(a.take()).toEqual(['runs/runs']);
    expect(b.take()).toEqual(['approvals/approvals']);
    expect(a.live?.state).toBe('live');
  });

  it('connects anew only when the topics of all together change', async () => {
    tab('overview');
    (await latest()).sink.open();
    const b = tab('overview');
    await latest();
    expect(connections).toHaveLength(1);
    want(b, 'overview', 'runs');
    const next = await latest();
    expect(connections).toHaveLength(2);
    expect(connections[0]?.signal.aborted).toBe(true);
    expect(next.topics).toEqual(['overview', 'runs']);
  });

  it('goes on after the last event of each run that was heard', async () => {
    const a = tab([`run:${RUN}`, 12]);
    const first = await latest();
    expect(first.lastEventId).toBe(`${RUN}:12`);
    first.sink.open();
    say(first, 'event', { run: RUN, seq: 13 });
    say(first, 'tokens', { run: RUN, text: 'hel' });
    expect(a.take()).toEqual([`run:${RUN}/event`, `run:${RUN}/tokens`]);
    first.end();
    await vi.advanceTimersByTimeAsync(1_000);
    const second = await latest();
    expect(connections).toHaveLength(2);
    expect(second.lastEventId).toBe(`${RUN}:13`);
  });

  it('says after a cut what may have been missed, but not of runs, which go on where they were', async () => {
    const a = tab('overview', [`run:${RUN}`, 3]);
    const first = await latest();
    first.sink.open();
    expect(a.take()).toEqual([]);
    first.fail(new TypeError('network'));
    await vi.advanceTimersByTimeAsync(1_000);
    (await latest()).sink.open();
    expect(a.take()).toEqual(['overview/missed']);
  });

  it('tells a tab that comes later that others have heard before', async () => {
    tab('approvals');
    (await latest()).sink.open();
    const b = tab('approvals');
    expect(b.take()).toEqual(['approvals/missed']);
  });

  it('is stale after five silent seconds, and makes a new connection after fifteen', async () => {
    const a = tab('overview');
    const first = await latest();
    first.sink.open();
    const since = Date.now();
    await vi.advanceTimersByTimeAsync(4_000);
    expect(a.live?.state).toBe('live');
    await vi.advanceTimersByTimeAsync(3_000);
    expect(a.live).toEqual({ state: 'stale', since });
    await vi.advanceTimersByTimeAsync(10_000);
    expect(first.signal.aborted).toBe(true);
    const second = await latest();
    first.sink.beat();
    expect(a.live?.state).toBe('stale');
    second.sink.open();
    expect(a.live?.state).toBe('live');
    expect(a.take()).toEqual(['overview/missed']);
  });

  it('stays live on heartbeats alone', async () => {
    const a = tab('overview');
    const connection = await latest();
    connection.sink.open();
    for (let i = 0; i < 20; i += 1) {
      await vi.advanceTimersByTimeAsync(2_000);
      connection.sink.event({ id: '', event: 'heartbeat', data: '{}' });
    }
    expect(a.live?.state).toBe('live');
    expect(connections).toHaveLength(1);
  });

  it('waits longer from failure to failure, up to fifteen seconds', async () => {
    tab('overview');
    await latest();
    const gaps: number[] = [];
    for (let i = 0; i < 9; i += 1) {
      const before = connections.length;
      const at = Date.now();
      connections.at(-1)?.fail(new TypeError('network'));
      while (connections.length === before && Date.now() - at < 20_000) await vi.advanceTimersByTimeAsync(25);
      expect(connections.length, `attempt ${i}`).toBe(before + 1);
      gaps.push(Date.now() - at);
    }
    expect(gaps[0]).toBeLessThan(500);
    expect(gaps.at(-1)).toBeGreaterThan(4_500);
    expect(Math.max(...gaps)).toBeLessThanOrEqual(15_100);
  });

  it('stops when the session is over, and begins again when told', async () => {
    const a = tab('overview');
    (await latest()).fail(new StreamRefused(401));
    await vi.advanceTimersByTimeAsync(60_000);
    expect(connections).toHaveLength(1);
    expect(a.live?.state).toBe('signed_out');
    hub.receive(a, { kind: 'wake' });
    (await latest()).sink.open();
    expect(connections).toHaveLength(2);
    expect(a.live?.state).toBe('live');
  });

  it('leaves out a run that is refused, so that the rest goes on', async () => {
    const a = tab('overview', [`run:${RUN}`, 0]);
    (await latest()).fail(new StreamRefused(404));
    const second = await latest();
    expect(second.topics).toEqual(['overview']);
    second.sink.open();
    expect(a.live?.state).toBe('live');
  });

  it('follows no more runs than a stream may have', async () => {
    tab('overview', ...Array.from({ length: RUNS_MAX + 5 }, (_, i): [string, number] => [`run:${i}`, 0]));
    const { topics } = await latest();
    expect(topics).toContain('overview');
    expect(topics).toHaveLength(RUNS_MAX + 1);
    expect(topics).toContain(`run:${RUNS_MAX + 4}`);
  });

  it('forgets a tab that has gone, and closes when none is left', async () => {
    const a = tab('overview');
    const b = tab('runs');
    (await latest()).sink.open();
    hub.receive(b, { kind: 'bye' });
    expect((await latest()).topics).toEqual(['overview']);
    hub.remove(a);
    await vi.advanceTimersByTimeAsync(40);
    expect(connections.at(-1)?.signal.aborted).toBe(true);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(connections).toHaveLength(2);
  });

  it('drops what is no JSON, and goes on', async () => {
    const a = tab('overview');
    const connection = await latest();
    connection.sink.open();
    connection.sink.event({ id: '', event: 'overview', data: '{"cut' });
    say(connection, 'overview', {});
    expect(a.take()).toEqual(['overview/overview']);
  });
});
