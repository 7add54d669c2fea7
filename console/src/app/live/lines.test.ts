import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { type Line, leaderLine } from './lines';
import type { FromHub } from './protocol';
import type { StreamSink } from './sse';

/** Web locks, as far as the lines use them: exclusive, first come first served, given up when their promise ends. */
class Locks {
  private readonly queues = new Map<string, (() => void)[]>();
  private readonly held = new Set<string>();

  async request(name: string, ...rest: unknown[]): Promise<void> {
    const work = rest.at(-1) as () => Promise<void> | void;
    const { signal } = (rest.length > 1 ? rest[0] : {}) as { signal?: AbortSignal };
    if (this.held.has(name)) {
      await new Promise<void>((resolve, reject) => {
        const queue = this.queues.get(name) ?? [];
        queue.push(resolve);
        this.queues.set(name, queue);
        signal?.addEventListener('abort', () => {
          queue.splice(queue.indexOf(resolve), 1);
          reject(new DOMException('', 'AbortError'));
        });
      });
    }
    this.held.add(name);
    try {
      await work();
    } finally {
      this.held.delete(name);
      this.queues.get(name)?.shift()?.();
    }
  }
}

interface Connection {
  readonly topics: readonly string[];
  readonly sink: StreamSink;
  readonly signal: AbortSignal;
}

let connections: Connection[];
let lines: Line[];
const open = (): Connection[] => connections.filter((one) => !one.signal.aborted);
const connect = (topics: readonly string[], _: string, sink: StreamSink, signal: AbortSignal): Promise<void> => {
  connections.push({ topics, sink, signal });
  sink.open();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve()));
};

function tab(...topics: string[]): { line: Line; heard: string[] } {
  const heard: string[] = [];
  const listen = (message: FromHub): void => void heard.push(message.kind === 'state' ? message.live.state : `${message.topic}/${message.event}`);
  const line = leaderLine(listen, connect);
  line.send({ kind: 'topics', topics: topics.map((topic) => ({ topic, after: 0 })) });
  lines.push(line);
  return { line, heard };
}

beforeEach(() => {
  connections = [];
  lines = [];
  vi.stubGlobal('navigator', { locks: new Locks() });
});
afterEach(() => {
  for (const line of lines) line.close();
  vi.unstubAllGlobals();
});

describe('without shared workers', () => {
  it('one tab leads, and the others hear through it', async () => {
    const a = tab('overview');
    const b = tab('runs');
    await vi.waitFor(() => expect(open().map((one) => one.topics)).toEqual([['overview', 'runs']]));
    open()[0]?.sink.event({ id: '', event: 'runs', data: '{}' });
    await vi.waitFor(() => expect(b.heard).toContain('runs/runs'));
    expect(a.heard).not.toContain('runs/runs');
    expect(b.heard).toContain('live');
  });

  it('another leads when the leader closes, and hears what all that are left want', async () => {
    const a = tab('overview');
    const b = tab('runs');
    const c = tab('controls');
    await vi.waitFor(() => expect(open()[0]?.topics).toEqual(['controls', 'overview', 'runs']));
    a.line.close();
    await vi.waitFor(() => expect(open().map((one) => one.topics)).toEqual([['controls', 'runs']]));
    open()[0]?.sink.event({ id: '', event: 'controls', data: '{}' });
    await vi.waitFor(() => expect(c.heard).toContain('controls/controls'));
    expect(b.heard).not.toContain('controls/controls');
  });

  it('forgets a follower that closes', async () => {
    tab('overview');
    const b = tab('runs');
    await vi.waitFor(() => expect(open()[0]?.topics).toEqual(['overview', 'runs']));
    b.line.close();
    await vi.waitFor(() => expect(open().map((one) => one.topics)).toEqual([['overview']]));
  });
});
