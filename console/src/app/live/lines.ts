import { connect } from './connect';
import { type Connect, Hub } from './hub';
import type { FromHub, Port, ToHub, Wanted } from './protocol';

/** A tab's line to the hub. */
export interface Line {
  send(message: ToHub): void;
  close(): void;
}

type Listen = (message: FromHub) => void;

/** The best line that this browser has: a shared worker, else a leading tab, else a stream of its own. */
export function openLine(listen: Listen): Line {
  if (typeof SharedWorker === 'function' && navigator.locks) return sharedLine(listen);
  if (typeof BroadcastChannel === 'function' && navigator.locks) return leaderLine(listen, connect);
  return ownLine(listen, connect);
}

function sharedLine(listen: Listen): Line {
  const worker = new SharedWorker(new URL('./worker.ts', import.meta.url), { type: 'module', name: 'penstock-live' });
  const lock = `penstock-tab-${crypto.getRandomValues(new Uint32Array(4)).join('-')}`;
  let release: () => void = () => undefined;
  void navigator.locks.request(lock, () => new Promise<void>((resolve) => {
    release = resolve;
    // Only once this tab holds the lock may the worker ask for it.
    worker.port.postMessage({ kind: 'topics', topics: latest, lock });
  }));
  let latest: readonly Wanted[] = [];
  worker.port.onmessage = (event: MessageEvent<FromHub>) => listen(event.data);
  return {
    send(message) {
      if (message.kind === 'topics') latest = message.topics;
      worker.port.postMessage(message);
    },
    close() {
      worker.port.postMessage({ kind: 'bye' } satisfies ToHub);
      worker.port.close();
      release();
    },
  };
}

/** A stream of this tab alone. Tests and the mock give their own `connect`. */
export function ownLine(listen: Listen, via: Connect): Line {
  const hub = new Hub(via);
  const port: Port = { post: (message) => queueMicrotask(() => listen(message)) };
  hub.add(port);
  return { send: (message) => hub.receive(port, message), close: () => hub.close() };
}

type Cast =
  | { readonly kind: 'to'; readonly tab: string; readonly message: ToHub }
  | { readonly kind: 'from'; readonly tab: string; readonly message: FromHub }
  | { readonly kind: 'leader' };

/** Without shared workers one tab, the holder of a lock, keeps the stream and passes it on to the others. */
export function leaderLine(listen: Listen, via: Connect): Line {
  const channel = new BroadcastChannel('penstock-live');
  const me = crypto.getRandomValues(new Uint32Array(4)).join('-');
  const closing = new AbortController();
  let hub: Hub | null = null;
  let latest: readonly Wanted[] = [];
  const own: Port = { post: (message) => queueMicrotask(() => listen(message)) };
  const ports = new Map<string, Port>();

  const lead = (): Promise<void> =>
    new Promise((resolve) => {
      hub = new Hub(via);
      hub.add(own);
      hub.receive(own, { kind: 'topics', topics: latest });
      channel.postMessage({ kind: 'leader' } satisfies Cast);
      closing.signal.addEventListener('abort', () => resolve());
    });
  const forOther = (tab: string): Port => {
    const known = ports.get(tab);
    if (known) return known;
    const port: Port = { post: (message) => channel.postMessage({ kind: 'from', tab, message } satisfies Cast) };
    ports.set(tab, port);
    hub?.add(port);
    // The same sign of life as with the worker: the tab's own lock.
    void navigator.locks.request(`penstock-tab-${tab}`, () => {
      ports.delete(tab);
      hub?.remove(port);
    });
    return port;
  };

  channel.onmessage = (event: MessageEvent<Cast>) => {
    const cast = event.data;
    if (cast.kind === 'leader') channel.postMessage({ kind: 'to', tab: me, message: { kind: 'topics', topics: latest } } satisfies Cast);
    else if (cast.kind === 'from' && cast.tab === me) listen(cast.message);
    else if (cast.kind === 'to' && hub) hub.receive(forOther(cast.tab), cast.message);
  };
  void navigator.locks.request(`penstock-tab-${me}`, () => new Promise<void>((resolve) => closing.signal.addEventListener('abort', () => resolve())));
  navigator.locks.request('penstock-leader', { signal: closing.signal }, lead).catch(() => undefined);

  return {
    send(message) {
      if (message.kind === 'topics') latest = message.topics;
      if (hub) hub.receive(own, message);
      else channel.postMessage({ kind: 'to', tab: me, message } satisfies Cast);
    },
    close() {
      if (closing.signal.aborted) return;
      if (hub) hub.close();
      else channel.postMessage({ kind: 'to', tab: me, message: { kind: 'bye' } } satisfies Cast);
      closing.abort();
      channel.close();
    },
  };
}
