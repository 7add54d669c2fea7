import type { ApiProblem } from '@/api/problem';
import type { ApprovalAlike, ApprovalLine } from '@/api/schema';

import { LONG, membersOf } from './columns';
import { said, TAKE_BACK_MS } from './decide';

/** Questions that one press decides at most. */
export const TOGETHER_MAX = 50;
/** How often a decision that got no answer is sent again before the rest waits for a person. */
export const TRIES = 4;

export type Answer = 'approve' | 'deny';

/** A question as it was on the screen when it was chosen: what the decision is bound to. */
export interface Bound {
  readonly id: string;
  readonly digest: string;
  readonly version: number;
  readonly said: string;
}

/** What became of one of them. */
export type Result =
  | { readonly kind: 'done'; readonly answer: Answer; readonly missing: number }
  | { readonly kind: 'lost'; readonly actor: string; readonly decision: string }
  | { readonly kind: 'refused'; readonly words: string }
  | { readonly kind: 'unsure' };

interface Given {
  readonly answer: Answer;
  readonly reason: string;
  readonly bound: readonly Bound[];
}

export type State =
  | { readonly kind: 'looking'; readonly note: string }
  | ({ readonly kind: 'reason' } & Given)
  | ({ readonly kind: 'confirming' } & Given)
  | ({ readonly kind: 'sending'; readonly since: number } & Given)
  /** `at`: the place of the question whose decision is being sent. `stop`: no other is sent after it. */
  | ({ readonly kind: 'posting'; readonly at: number; readonly tries: number; readonly stop: boolean } & Given)
  /** `at`: how many are settled; `unsure`: what became of the next nobody knows. */
  | ({ readonly kind: 'over'; readonly at: number; readonly unsure: boolean } & Given);

export type Event =
  | { readonly kind: 'choose'; readonly answer: Answer; readonly armed: boolean; readonly repeat: boolean; readonly bound: readonly Bound[] }
  | { readonly kind: 'reason'; readonly reason: string; readonly repeat: boolean }
  | { readonly kind: 'confirm'; readonly repeat: boolean; readonly at: number }
  | { readonly kind: 'due'; readonly at: number }
  | { readonly kind: 'back' }
  | { readonly kind: 'left' }
  | { readonly kind: 'changed' }
  | { readonly kind: 'stop' }
  /** The question `id` has come to something, or nobody knows to what. */
  | { readonly kind: 'came'; readonly id: string; readonly unsure: boolean }
  | { readonly kind: 'again' }
  | { readonly kind: 'fresh' };

export const LOOKING: State = { kind: 'looking', note: '' };
const OPEN = new Set<State['kind']>(['reason', 'confirming', 'sending']);

/**
 * What comes after an event. Only `due` and `again` lead to `posting`, the one state in which decisions are sent, one
 * after the other, each bound to what was on the screen when it was chosen.
 */
export function step(state: State, event: Event): State {
  switch (event.kind) {
    case 'choose':
      if (state.kind !== 'looking' || !event.armed || event.repeat || event.bound.length === 0 || event.bound.length > TOGETHER_MAX) return state;
      return { kind: 'reason', answer: event.answer, reason: '', bound: event.bound };
    case 'reason':
      if (state.kind !== 'reason' || event.repeat || event.reason.trim() === '') return state;
      return { ...state, kind: 'confirming', reason: event.reason.trim() };
    case 'confirm':
      if (state.kind !== 'confirming' || event.repeat) return state;
      return { ...state, kind: 'sending', since: event.at };
    case 'due':
      if (state.kind !== 'sending' || event.at - state.since < TAKE_BACK_MS) return state;
      return { kind: 'posting', answer: state.answer, reason: state.reason, bound: state.bound, at: 0, tries: 0, stop: false };
    case 'back':
      return OPEN.has(state.kind) ? { kind: 'looking', note: state.kind === 'sending' ? 'taken back: nothing was sent' : '' } : state;
    case 'left':
      return state.kind === 'sending' || state.kind === 'confirming' ? { kind: 'looking', note: 'you left: nothing was sent' } : state;
    case 'changed':
      return OPEN.has(state.kind) ? { kind: 'looking', note: 'something that you chose has changed: nothing was sent, look again' } : state;
    case 'stop':
      return state.kind === 'posting' ? { ...state, stop: true } : state;
    case 'came':
      return came(state, event);
    case 'again':
      return state.kind === 'over' && state.at < state.bound.length ? { kind: 'posting', answer: state.answer, reason: state.reason, bound: state.bound, at: state.at, tries: 0, stop: false } : state;
    case 'fresh':
      return state.kind === 'over' ? LOOKING : state;
  }
}

function came(state: State, event: Extract<Event, { kind: 'came' }>): State {
  if (state.kind !== 'posting' || state.bound[state.at]?.id !== event.id) return state;
  const { answer, reason, bound, at } = state;
  if (event.unsure && state.tries + 1 < TRIES && !state.stop) return { ...state, tries: state.tries + 1 };
  // Nothing is sent after what nobody knows the end of: the server may be gone for all of them.
  if (event.unsure) return { kind: 'over', answer, reason, bound, at, unsure: true };
  const next = at + 1;
  if (next >= bound.length || state.stop) return { kind: 'over', answer, reason, bound, at: next, unsure: false };
  return { ...state, at: next, tries: 0 };
}

/** A question as it is bound when it is chosen. */
export const boundTo = (one: ApprovalAlike): Bound => ({ id: one.id, digest: one.digest, version: one.version, said: said(one) });

/** Whether all that was chosen still is as it was. */
export function stillThere(bound: readonly Bound[], items: readonly ApprovalAlike[]): boolean {
  const now = new Map(items.map((item) => [item.id, said(item)]));
  return bound.every((one) => now.get(one.id) === one.said);
}

/** Why a question cannot be among those that are decided together; "" = it can. `now`: microseconds. */
export function whyAlone(one: ApprovalAlike, differing: readonly string[], me: string, now: number): string {
  if (one.hidden !== '') return 'you may not read its arguments';
  if (one.holder !== '' && one.holder !== me) return `${one.holder} has taken it over`;
  if (!one.mine) return one.why_not || 'not yours to decide';
  if (one.expires !== 0 && one.expires <= now) return 'it has expired';
  const members = membersOf(one.args);
  if (members === null) return 'its arguments are no list of names: decide it by itself';
  if (differing.some((name) => (members.get(name) ?? '').length > LONG)) return 'it has a long text: read it by itself';
  return '';
}

/** What an answer of the server means for one question. */
export function resultOf(problem: ApiProblem, me: string, answer: Answer): Result {
  if (problem.code === 'unreachable' || problem.status >= 500 || problem.status === 408 || problem.status === 429) return { kind: 'unsure' };
  const { actor, decision, allowed, needed } = problem.fields;
  if (problem.code === 'approval_decided') {
    // An earlier try that got no answer was recorded.
    if (actor === me && decision === answer) return { kind: 'done', answer, missing: 0 };
    return { kind: 'lost', actor: typeof actor === 'string' ? actor : '', decision: typeof decision === 'string' ? decision : '' };
  }
  if (problem.code === 'approval_twice' && Array.isArray(allowed) && allowed.includes(me)) return { kind: 'done', answer, missing: Math.max(1, Number(needed) - allowed.length) };
  return { kind: 'refused', words: problem.title };
}

/** Questions of one group that the caller may decide, two at least. */
export interface Group {
  readonly group: string;
  readonly tool: string;
  readonly agent: string;
  readonly count: number;
}

/** Groups of questions that one rule holds, in the order in which their first ones end. */
export function groupsOf(items: readonly ApprovalLine[]): readonly Group[] {
  const found = new Map<string, Group>();
  for (const { group, tool, agent, mine } of items) {
    if (group !== '' && mine) found.set(group, { group, tool, agent, count: (found.get(group)?.count ?? 0) + 1 });
  }
  return [...found.values()].filter((one) => one.count > 1);
}
