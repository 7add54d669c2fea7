import type { QueryClient } from '@tanstack/react-query';

import { keys } from '@/api/keys';
import type { RunShown } from '@/api/schema';
import { onTopic } from '@/app/live/patch';
import type { LiveMessage } from '@/app/live/protocol';

import { grouped } from '../model/group';
import type { TraceModel } from '../model/trace';
import { applyEvents, type RunEvent, withReserved } from './apply';

/** How a run stands, as the stream tells it. */
interface StatusSaid {
  readonly run: string;
  readonly seq: number;
  readonly status: string;
  readonly outcome: string | null;
  readonly code: string;
  readonly stop: string | null;
  readonly steps: number;
  readonly tokens: number;
  readonly nano: number;
  readonly reserved_nano: number;
  readonly open_intents: number;
}

const ofRun = (topic: string): string => topic.slice('run:'.length);

/** What to show of a status, as far as the row alone says it; what a parked run waits for is read again. */
function shownOf(said: StatusSaid, old: RunShown): string {
  if (said.status === 'ended') return said.outcome ?? 'ended';
  if (said.stop) return 'stopping';
  return said.status === 'parked' ? old.shown : said.status;
}

function patchRun(client: QueryClient, run: string, messages: readonly LiveMessage[]): void {
  const events = messages.filter((one) => one.event === 'event').map((one) => one.data as RunEvent);
  const status = messages.findLast((one) => one.event === 'status')?.data as StatusSaid | undefined;
  let gap = false;
  client.setQueryData<TraceModel>(keys.trace(run), (old) => {
    if (!old) return old;
    const applied = applyEvents(old, events);
    gap = applied.gap;
    return status ? withReserved(applied.model, status.reserved_nano) : applied.model;
  });
  if (status) {
    const before = client.getQueryData<RunShown>(keys.run(run));
    client.setQueryData<RunShown>(keys.run(run), (old) => old && { ...old, ...status, id: old.id, shown: shownOf(status, old), last_seq: Math.max(old.last_seq, status.seq) });
    // Goal, sentence, answers and what is waited for are in no event: they are read when the run turns.
    if (before && before.status !== status.status) {
      void client.invalidateQueries({ queryKey: keys.run(run), exact: true });
      void client.invalidateQueries({ queryKey: keys.trace(run) });
    }
  }
  if (messages.some((one) => one.event === 'answer')) void client.invalidateQueries({ queryKey: keys.run(run), exact: true });
  if (gap) void client.invalidateQueries({ queryKey: keys.trace(run) });
  for (const path of new Set(events.map((event) => event.path))) {
    if (path) void client.invalidateQueries({ queryKey: keys.span(run, path) });
  }
}

onTopic('run', (client, messages) => {
  for (const [topic, mine] of grouped(messages, (message) => message.topic)) patchRun(client, ofRun(topic), mine);
});
