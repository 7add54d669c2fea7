import { useQueryClient } from '@tanstack/react-query';
import { useEffect, useRef, useState } from 'react';

import { keys } from '@/api/keys';
import type { RunShown } from '@/api/schema';
import { useAnnounce } from '@/app/announce';
import { useRunTopic } from '@/app/live/context';

import type { TraceModel } from '../model/trace';
import type { RunEvent } from './apply';
import './patch';
import { type Partials, type TokensSaid, withoutPaths, withTokens } from './tokens';

/** What the server alone can reckon (critical path, loops, marks) is at most this old while a run goes on. */
const RECKON_MS = 5_000;
/** And it takes at most this share of the server's time: a long run's trace takes long to build. */
const PATIENCE = 20;

/**
 * Keeps a run current while it goes on: its events are put into the trace as they come, and the trace is read again now
 * and then for what no event tells. Gives the answers of models that are on their way, by path.
 */
export function useLiveRun(id: string, run: RunShown | undefined, trace: TraceModel | undefined): Partials {
  const [partials, setPartials] = useState<Partials>(() => new Map());
  const announce = useAnnounce();
  const goesOn = run !== undefined && trace !== undefined && run.status !== 'ended';
  useRunTopic(id, goesOn ? trace.asOf : null, (messages) => {
    const said = messages.filter((one) => one.event === 'tokens').map((one) => one.data as TokensSaid);
    const over = messages.filter((one) => one.event === 'event').map((one) => one.data as RunEvent).filter((event) => event.kind === 'model.outcome');
    if (said.length > 0 || over.length > 0) setPartials((old) => withoutPaths(withTokens(old, said), over.map((event) => event.path)));
    const line = messages.findLast((one) => one.event === 'event')?.data as RunEvent | undefined;
    if (line) announce.polite(line.line);
  });
  useReckoning(id, goesOn ? trace.asOf : null);
  return partials;
}

/** Reads the trace again when it has grown, never twice at once and never more often than it is worth. */
function useReckoning(id: string, asOf: number | null): void {
  const client = useQueryClient();
  const latest = useRef(asOf);
  useEffect(() => {
    latest.current = asOf;
  }, [asOf]);
  const goesOn = asOf !== null;
  useEffect(() => {
    if (!goesOn) return undefined;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let read = latest.current;
    let stopped = false;
    const again = async (): Promise<void> => {
      let wait = RECKON_MS;
      if (latest.current !== read && !document.hidden) {
        const begun = performance.now();
        read = latest.current;
        await client.refetchQueries({ queryKey: keys.trace(id), exact: true });
        wait = Math.max(RECKON_MS, (performance.now() - begun) * PATIENCE);
      }
      if (!stopped) timer = setTimeout(() => void again(), wait);
    };
    timer = setTimeout(() => void again(), RECKON_MS);
    return () => {
      stopped = true;
      clearTimeout(timer);
    };
  }, [client, id, goesOn]);
}
