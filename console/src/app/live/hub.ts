import type { LiveMessage, LiveState, Port, ToHub } from './protocol';
import { type SseEvent, StreamRefused, type StreamSink } from './sse';

/** No word from the server for this long: what is shown may be old. The server beats every two seconds. */
export const STALE_MS = 5_000;
/** Silent for this long: the connection is given up and made anew. */
export const DEAD_MS = 15_000;
/** Runs of one stream, as the server bounds them. */
export const RUNS_MAX = 20;
const SETTLE_MS = 30;
const BACKOFF_MS = [250, 500, 1_000, 2_000, 5_000, 10_000];

/** Reads one stream until it ends, fails or is aborted. */
export type Connect = (topics: readonly string[], lastEventId: string, sink: StreamSink, signal: AbortSignal) => Promise<void>;

const missed = (topic: string): LiveMessage => ({ kind: 'message', topic, event: 'missed', data: null });
const runOf = (topic: string): string => (topic.startsWith('run:') ? topic.slice(4) : '');

/**
 * The one stream of a browser, shared by its tabs: it asks for the topics that any of them wants, takes up again where
 * it was cut, and says when nothing has been heard.
 */
export class Hub {
  private readonly connect: Connect;
  private readonly wanted = new Map<Port, ReadonlyMap<string, number>>();
  private readonly refused = new Set<string>();
  /** The last event heard of each run: what the stream goes on from. */
  private readonly seen = new Map<string, number>();
  private asked = new Set<string>();
  private joined = new Set<string>();
  private live: LiveState = { state: 'connecting', since: 0 };
  private heard = 0;
  private failures = 0;
  private cut = false;
  private current: AbortController | null = null;
  private settling: ReturnType<typeof setTimeout> | undefined;
  private again: ReturnType<typeof setTimeout> | undefined;
  private watch: ReturnType<typeof setInterval> | undefined;

  constructor(connect: Connect) {
    this.connect = connect;
  }

  add(port: Port): void {
    this.wanted.set(port, new Map());
    port.post({ kind: 'state', live: this.live });
  }

  remove(port: Port): void {
    this.wanted.delete(port);
    this.settle();
  }

  /** Ends the stream and all timers: this hub is used no more. */
  close(): void {
    this.wanted.clear();
    clearTimeout(this.settling);
    this.open();
  }

  receive(port: Port, message: ToHub): void {
    if (message.kind === 'bye') this.remove(port);
    else if (message.kind === 'wake') this.wake();
    else {
      const before = this.wanted.get(port);
      this.wanted.set(port, new Map(message.topics.map(({ topic, after }) => [topic, after])));
      for (const { topic } of message.topics) {
        // What another tab hears already is not told again from its beginning.
        if (!before?.has(topic) && this.joined.has(topic)) port.post(missed(topic));
      }
      this.settle();
    }
  }

  private topics(): string[] {
    const all = new Set([...this.wanted.values()].flatMap((mine) => [...mine.keys()]).filter((topic) => !this.refused.has(topic)));
    const runs = [...all].filter(runOf).slice(-RUNS_MAX);
    return [...[...all].filter((topic) => !runOf(topic)).sort(), ...runs.sort()];
  }

  /** Topics come and go in bursts (a page mounts): one reconnection for all of a burst. */
  private settle(): void {
    clearTimeout(this.settling);
    this.settling = setTimeout(() => {
      const topics = this.topics();
      const same = topics.length === this.asked.size && topics.every((topic) => this.asked.has(topic));
      if (!same) this.open();
    }, SETTLE_MS);
  }

  private wake(): void {
    this.failures = 0;
    this.cut = true;
    this.refused.clear();
    this.seen.clear();
    this.open();
  }

  private open(): void {
    clearTimeout(this.again);
    this.current?.abort();
    this.current = null;
    const topics = this.topics();
    this.asked = new Set(topics);
    if (topics.length === 0) {
      this.joined = new Set();
      clearInterval(this.watch);
      this.watch = undefined;
      return;
    }
    const controller = new AbortController();
    this.current = controller;
    if (this.heard === 0) this.heard = Date.now();
    this.watch ??= setInterval(() => this.look(), 1_000);
    const sink: StreamSink = {
      open: () => this.opened(controller, topics),
      event: (event) => this.event(controller, event),
      beat: () => this.beat(controller),
    };
    this.connect(topics, this.cursor(topics), sink, controller.signal).then(
      () => this.ended(controller, null),
      (error: unknown) => this.ended(controller, error),
    );
  }

  /** The server's form of "what I have": RUN:SEQ, comma-separated. */
  private cursor(topics: readonly string[]): string {
    const parts: string[] = [];
    for (const topic of topics) {
      const run = runOf(topic);
      if (!run) continue;
      const starts = [...this.wanted.values()].map((mine) => mine.get(topic)).filter((after) => after !== undefined);
      const last = this.seen.get(run) ?? Math.max(0, ...starts);
      parts.push(`${run}:${last}`);
    }
    return parts.join(',');
  }

  private opened(controller: AbortController, topics: readonly string[]): void {
    if (controller !== this.current) return;
    const cut = this.cut;
    this.joined = new Set(topics);
    this.cut = false;
    this.beat(controller);
    if (!cut) return;
    for (const [port, mine] of this.wanted) {
      // Runs go on where they were cut; of the other topics only the latest is told.
      for (const topic of topics) if (mine.has(topic) && !runOf(topic)) port.post(missed(topic));
    }
  }

  private beat(controller: AbortController): void {
    if (controller !== this.current) return;
    this.heard = Date.now();
    this.failures = 0;
    this.say('live');
  }

  private event(controller: AbortController, event: SseEvent): void {
    if (controller !== this.current) return;
    this.beat(controller);
    if (event.event === 'heartbeat') return;
    let data: unknown;
    try {
      data = JSON.parse(event.data);
    } catch {
      return;
    }
    const topic = this.topicOf(event.event, data);
    for (const [port, mine] of this.wanted) {
      if (mine.has(topic)) port.post({ kind: 'message', topic, event: event.event, data });
    }
  }

  private topicOf(event: string, data: unknown): string {
    if (typeof data !== 'object' || data === null || !('run' in data) || typeof data.run !== 'string') return event;
    if (event === 'event' && 'seq' in data && typeof data.seq === 'number') {
      this.seen.set(data.run, Math.max(data.seq, this.seen.get(data.run) ?? 0));
    }
    return `run:${data.run}`;
  }

  private ended(controller: AbortController, error: unknown): void {
    if (controller !== this.current) return;
    this.current = null;
    const status = error instanceof StreamRefused ? error.status : 0;
    if (status === 401) {
      this.asked = new Set();
      this.say('signed_out');
      return;
    }
    const fresh = [...this.asked].filter((topic) => runOf(topic) && !this.joined.has(topic));
    if (status >= 400 && status < 500 && status !== 429 && fresh.length > 0) {
      // One run that is not there (any more) must not take the stream from all the others.
      for (const topic of fresh) this.refused.add(topic);
      this.open();
      return;
    }
    this.cut = true;
    const wait = BACKOFF_MS[Math.min(this.failures, BACKOFF_MS.length - 1)] ?? 0;
    this.failures += 1;
    // Spread, so that a thousand browsers do not all return at once to a server that has just started.
    this.again = setTimeout(() => this.open(), wait * (0.5 + Math.random()));
  }

  private look(): void {
    const silent = Date.now() - this.heard;
    if (this.live.state === 'signed_out') return;
    if (silent > STALE_MS) this.say('stale');
    if (silent > DEAD_MS && this.current !== null) {
      // Half-open: no FIN ever came. A new connection finds out sooner than TCP.
      this.cut = true;
      this.heard = Date.now() - STALE_MS - 1;
      this.open();
    }
  }

  private say(state: LiveState['state']): void {
    const changed = this.live.state !== state;
    this.live = changed || state === 'live' ? { state, since: this.heard } : this.live;
    if (!changed) return;
    for (const port of this.wanted.keys()) port.post({ kind: 'state', live: this.live });
  }
}
