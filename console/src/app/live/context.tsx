import { useQueryClient } from '@tanstack/react-query';
import { createContext, type ReactNode, useContext, useEffect, useMemo, useRef, useState } from 'react';

import { onceAFrame } from './frames';
import { type Line, openLine } from './lines';
import { patchAll } from './patch';
import type { FromHub, LiveMessage, LiveState, Wanted } from './protocol';

type Listener = (messages: readonly LiveMessage[]) => void;

interface LiveHandle {
  want(wanted: Wanted): () => void;
  listen(topic: string, listener: Listener): () => void;
  wake(): void;
}

const Handle = createContext<LiveHandle | null>(null);
const State = createContext<LiveState>({ state: 'connecting', since: 0 });

/** Opens this tab's line to the stream and patches the query cache with what comes, once a frame. */
export function LiveProvider({ children, open = openLine }: { children: ReactNode; open?: (listen: (m: FromHub) => void) => Line }) {
  const client = useQueryClient();
  const [live, setLive] = useState<LiveState>({ state: 'connecting', since: 0 });
  const line = useRef<Line | null>(null);
  const wanted = useRef(new Set<Wanted>());
  const listeners = useRef(new Map<string, Set<Listener>>());

  const handle = useMemo<LiveHandle>(() => {
    const tell = (): void => line.current?.send({ kind: 'topics', topics: distinct(wanted.current) });
    return {
      want(mine) {
        wanted.current.add(mine);
        tell();
        return () => {
          wanted.current.delete(mine);
          tell();
        };
      },
      listen(topic, listener) {
        const set = listeners.current.get(topic) ?? new Set();
        listeners.current.set(topic, set.add(listener));
        return () => set.delete(listener);
      },
      wake: () => line.current?.send({ kind: 'wake' }),
    };
  }, []);

  useEffect(() => {
    const frames = onceAFrame<LiveMessage>((messages) => {
      patchAll(client, messages);
      for (const [topic, set] of listeners.current) {
        const mine = messages.filter((message) => message.topic === topic);
        if (mine.length > 0) for (const listener of set) listener(mine);
      }
    });
    const opened = open((message) => {
      if (message.kind === 'message') frames.add(message);
      else setLive(message.live);
    });
    line.current = opened;
    opened.send({ kind: 'topics', topics: distinct(wanted.current) });
    return () => {
      frames.stop();
      opened.close();
      line.current = null;
    };
  }, [client, open]);

  return (
    <Handle value={handle}>
      <State value={live}>{children}</State>
    </Handle>
  );
}

/** How current the figures are. */
export function useLive(): LiveState {
  return useContext(State);
}

/** Makes the hub connect anew, after signing in. */
export function useWake(): () => void {
  const handle = useContext(Handle);
  return useMemo(() => () => handle?.wake(), [handle]);
}

/** One of each topic, from the earliest event that anybody of the tab needs. */
function distinct(wanted: Iterable<Wanted>): Wanted[] {
  const after = new Map<string, number>();
  for (const one of wanted) after.set(one.topic, Math.min(one.after, after.get(one.topic) ?? Infinity));
  return [...after].map(([topic, seq]) => ({ topic, after: seq }));
}

/**
 * Hears a topic while the component is there. The cache is patched by itself (patch.ts); `listener` is for what is in
 * no cache, such as tokens. It is called at most once a frame with all messages of that frame.
 */
export function useTopic(topic: string | null, listener?: Listener, after = 0): void {
  const handle = useContext(Handle);
  const latest = useRef({ listener, after });
  useEffect(() => {
    latest.current = { listener, after };
  });
  useEffect(() => {
    if (!handle || topic === null) return undefined;
    const deafen = handle.listen(topic, (messages) => latest.current.listener?.(messages));
    const drop = handle.want({ topic, after: latest.current.after });
    return () => {
      drop();
      deafen();
    };
  }, [handle, topic]);
}

/**
 * Hears what happens to a run from event `after` on: null until the page has read the run, since an address with a
 * wrong id must not be asked for. Messages have `event`: "event", "status", "tokens" or "answer".
 */
export function useRunTopic(run: string, after: number | null, listener?: Listener): void {
  useTopic(after === null ? null : `run:${run}`, listener, after ?? 0);
}
