import type { InfiniteData, QueryClient } from '@tanstack/react-query';

import { keys } from '@/api/keys';
import type { Overview, RunLine, RunPage, RunShown } from '@/api/schema';
import { learnClock } from '@/ui/now';

import type { LiveMessage } from './protocol';

/** Patches the cache with the messages of one frame, in their order. */
export type Patch = (client: QueryClient, messages: readonly LiveMessage[]) => void;

const patches = new Map<string, Patch>();

/** Adds how a topic patches the cache: its name, or what comes before the colon (`run` for `run:ID`). */
export function onTopic(name: string, patch: Patch): void {
  patches.set(name, patch);
}

const family = (topic: string): string => topic.split(':', 1)[0] ?? topic;

/** Applies the messages of a frame, topic by topic. */
export function patchAll(client: QueryClient, messages: readonly LiveMessage[]): void {
  const missed = messages.filter((message) => message.event === 'missed');
  for (const topic of new Set(missed.map((message) => message.topic))) readAgain(client, topic);
  const heard = messages.filter((message) => message.event !== 'missed');
  for (const name of new Set(heard.map((message) => family(message.topic)))) {
    patches.get(name)?.(client, heard.filter((message) => family(message.topic) === name));
  }
}

const QUERIES: Record<string, (id: string) => readonly (readonly string[])[]> = {
  overview: () => [keys.overview],
  run: (id) => [keys.run(id)],
  approvals: () => [keys.approvals, ['approval']],
  controls: () => [keys.controls, ['control']],
};

/** Reads again what was read of a topic. Not the list of runs: its rows must not move, the page offers to. */
function readAgain(client: QueryClient, topic: string): void {
  const [name = '', id = ''] = topic.split(':');
  for (const queryKey of QUERIES[name]?.(id) ?? []) void client.invalidateQueries({ queryKey });
}

onTopic('overview', (client, messages) => {
  const latest = messages.at(-1)?.data as Overview | undefined;
  if (!latest) return;
  learnClock(latest.as_of);
  client.setQueryData<Overview>(keys.overview, (old) => (old && old.as_of > latest.as_of ? old : latest));
});

/** Runs that changed, the latest state of each. */
export function changedRuns(messages: readonly LiveMessage[]): Map<string, RunLine> {
  const changed = new Map<string, RunLine>();
  for (const message of messages) {
    for (const line of (message.data as { changed?: readonly RunLine[] }).changed ?? []) changed.set(line.id, line);
  }
  return changed;
}

onTopic('runs', (client, messages) => {
  const changed = changedRuns(messages);
  for (const [id, line] of changed) {
    client.setQueryData<RunShown>(keys.run(id), (old) => (old ? { ...old, ...line } : old));
  }
  client.setQueriesData<InfiniteData<RunPage>>({ queryKey: ['runs', 'list'] }, (old) => old && patchPages(old, changed));
});

/** The pages with the runs that changed put in their places; what did not change keeps its identity. */
export function patchPages<P>(data: InfiniteData<RunPage, P>, changed: ReadonlyMap<string, RunLine>): InfiniteData<RunPage, P> {
  let touched = false;
  const pages = data.pages.map((page) => {
    if (!page.items.some((item) => changed.has(item.id))) return page;
    touched = true;
    return { ...page, items: page.items.map((item) => changed.get(item.id) ?? item) };
  });
  return touched ? { ...data, pages } : data;
}

onTopic('approvals', (client) => {
  void client.invalidateQueries({ queryKey: keys.approvals });
  void client.invalidateQueries({ queryKey: ['approval'] });
});

onTopic('controls', (client) => {
  void client.invalidateQueries({ queryKey: keys.controls });
  void client.invalidateQueries({ queryKey: ['control'] });
});
