import type { Connect } from '@/app/live/hub';

import { overview } from './overview';
import { mockRuns } from './runs';
import { SEEDS } from './seed';
import { runSource } from './traces';

/**
 * A source of a topic's messages: called each second with the number of seconds since the stream opened. Of `run` it
 * gives `{ event, data }` with `data.run`.
 */
export type Source = (second: number, topic: string) => unknown;

/** Sources by topic, or by what comes before its colon. Pages add theirs. */
export const sources: Record<string, Source> = {
  overview: () => overview(),
  run: runSource,
  runs: (second) => {
    const base = mockRuns[20 + (second % 20)];
    if (!base) return undefined;
    if (second % 3 === 0) return { changed: [{ ...base, id: SEEDS.five.slice(0, -6) + String(second).padStart(6, '0'), created_at: Date.now() * 1000, shown: 'queued', status: 'queued', outcome: null, ended_at: null, steps: 0, nano: 0 }] };
    return { changed: [{ ...base, nano: base.nano + second * 1_000_000 }] };
  },
};

/** The mock's stream. `?silent` in the address: it falls silent after five seconds, to see what is stale. */
export const stream: Connect = (topics, _lastEventId, sink, signal) =>
  new Promise((resolve) => {
    let second = 0;
    const silent = new URLSearchParams(location.search).has('silent');
    setTimeout(() => sink.open(), 50);
    const timer = setInterval(() => {
      second += 1;
      if (silent && second > 5) return;
      sink.beat();
      for (const topic of topics) {
        const said = sources[topic.split(':', 1)[0] ?? '']?.(second, topic);
        if (said === undefined) continue;
        const { event, data } = topic.startsWith('run:') ? (said as { event: string; data: unknown }) : { event: topic, data: said };
        sink.event({ id: '', event, data: JSON.stringify(data) });
      }
    }, 1000);
    signal.addEventListener('abort', () => {
      clearInterval(timer);
      resolve();
    });
  });
