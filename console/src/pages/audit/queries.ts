import { infiniteQueryOptions, queryOptions } from '@tanstack/react-query';

import { api, ask } from '@/api/client';
import { keys } from '@/api/keys';
import { ApiProblem } from '@/api/problem';
import type { ConsistencyShown, InclusionShown, LogShown } from '@/api/schema';

import { check, type Checked, type Evidence, type Held } from './model/check';
import { keepHeld, readHeld } from './model/held';

/** How often the log, which grows meanwhile, is asked until all parts of an answer are of one checkpoint. */
const TRIES = 8;

export interface ActionsAsked {
  readonly actor?: string;
  readonly action?: string;
}

/** What people and programs did, newest first. */
export function actionsQuery({ actor = '', action = '' }: ActionsAsked) {
  return infiniteQueryOptions({
    queryKey: [...keys.audit, 'actions', actor, action],
    initialPageParam: null as string | null,
    staleTime: 5_000,
    queryFn: ({ pageParam, signal }) =>
      ask(api.GET('/v1/actions', { params: { query: { actor, action, limit: 50, ...(pageParam === null ? {} : { before: Number(pageParam) }) } }, signal })),
    getNextPageParam: (last) => last.next,
  });
}

/** What came of a check; `log` is null while nothing is sealed. */
export interface Result {
  readonly log: LogShown;
  readonly checked: Checked | null;
  /** What was held before it. */
  readonly before: Held | null;
  /** What is right is kept from now on; false: this browser keeps nothing. */
  readonly kept: boolean;
}

/** The log, and with `run` the run's proof, checked here against what this browser saw before. */
export function checkedQuery(tenant: string, run: string) {
  return queryOptions({
    queryKey: [...keys.audit, 'checked', tenant, run],
    staleTime: Infinity,
    gcTime: 0,
    retry: false,
    refetchOnWindowFocus: false,
    queryFn: ({ signal }) => checkNow(tenant, run, signal),
  });
}

async function checkNow(tenant: string, run: string, signal: AbortSignal): Promise<Result> {
  const before = readHeld(tenant);
  for (let i = 0; i < TRIES; i += 1) {
    const log = await ask(api.GET('/v1/audit', { signal }));
    if (log.newest === null) return { log, checked: null, before, kept: false };
    const [proof, growth] = await Promise.all([run ? inclusion(run, signal) : null, before ? consistency(before.note, signal) : null]);
    if (growth instanceof ApiProblem) return { log, checked: refusedBy(growth), before, kept: false };
    const checkpoint = proof?.checkpoint ?? growth?.checkpoint ?? log.newest.checkpoint;
    if (growth !== null && textOf(growth.checkpoint) !== textOf(checkpoint)) continue;
    const evidence: Evidence = {
      tenant, keys: log.keys, history: log.history, checkpoint, growth: growth?.proof ?? null,
      run: proof ? { id: run, leaf: proof.leaf, index: proof.index, proof: proof.proof, hashOf: (seq) => hashOf(run, seq, signal) } : null,
    };
    const checked = await check(evidence, before, Date.now() * 1000);
    const isRight = checked.findings.every((one) => one.state !== 'wrong');
    return { log, checked, before, kept: isRight && checked.held !== null && keepHeld(tenant, checked.held) };
  }
  throw new ApiProblem({ code: 'log_busy', title: 'The log grew under each try.', hint: 'Try again in a moment.' });
}

/** What is signed, without the signatures, which are made anew and added to. */
const textOf = (note: string): string => note.slice(0, note.lastIndexOf('\n\n'));

const inclusion = (run: string, signal: AbortSignal): Promise<InclusionShown> => ask(api.GET('/v1/audit/inclusion', { params: { query: { run } }, signal }));

/** Answers that speak of the checkpoint that is held, and not of whether the server could answer. */
const ABOUT_HELD = new Set(['log_forked', 'checkpoint_foreign', 'signature_refused', 'note_invalid', 'not_sealed']);

async function consistency(checkpoint: string, signal: AbortSignal): Promise<ConsistencyShown | ApiProblem> {
  try {
    return await ask(api.POST('/v1/audit/consistency', { body: { checkpoint }, signal }));
  } catch (error) {
    if (error instanceof ApiProblem && ABOUT_HELD.has(error.code)) return error;
    throw error;
  }
}

const refusedBy = (problem: ApiProblem): Checked => ({
  findings: [{ name: 'growth', state: 'wrong', words: `The server cannot prove that its log goes on from the one that this browser saw: ${problem.title}` }], held: null, size: 0,
});

async function hashOf(run: string, seq: number, signal: AbortSignal): Promise<string | null> {
  const page = await ask(api.GET('/v1/runs/{run}/events', { params: { path: { run }, query: { after: Math.max(0, seq - 1), limit: 1 } }, signal }));
  return page.items.find((event) => event.seq === seq)?.hash ?? null;
}
