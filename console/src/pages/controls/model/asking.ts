import type { ApiProblem } from '@/api/problem';
import type { ControlAsked } from '@/api/schema';

/** Seconds until a stop that got no answer is asked for again: the n-th time, at most every 15. */
export const againSeconds = (tries: number): number => Math.min(15, 2 ** Math.min(tries, 4));

/**
 * A stop on its way. It is asked for under one key until there is an answer; with the same key it happens once.
 */
export type Asking =
  | { readonly kind: 'idle' }
  | { readonly kind: 'asking'; readonly key: string; readonly asked: ControlAsked; readonly tries: number }
  | { readonly kind: 'unsure'; readonly key: string; readonly asked: ControlAsked; readonly tries: number }
  | { readonly kind: 'refused'; readonly problem: ApiProblem; readonly wasUnsure: boolean; readonly asked: ControlAsked }
  | { readonly kind: 'done'; readonly id: string };

export type AskingEvent =
  | { readonly kind: 'ask'; readonly key: string; readonly asked: ControlAsked }
  | { readonly kind: 'again' }
  | { readonly kind: 'answered'; readonly id: string }
  | { readonly kind: 'failed'; readonly problem: ApiProblem }
  | { readonly kind: 'reset' };

export const IDLE: Asking = { kind: 'idle' };

/** What comes after an event. A stop that is on its way is never put aside by anything but its answer. */
export function step(state: Asking, event: AskingEvent): Asking {
  switch (event.kind) {
    case 'ask':
      return state.kind === 'asking' || state.kind === 'unsure' ? state : { kind: 'asking', key: event.key, asked: event.asked, tries: 1 };
    case 'again':
      return state.kind === 'unsure' ? { ...state, kind: 'asking', tries: state.tries + 1 } : state;
    case 'answered':
      return state.kind === 'asking' ? { kind: 'done', id: event.id } : state;
    case 'failed': {
      if (state.kind !== 'asking') return state;
      const { problem } = event;
      // Of these nobody knows what became of what was asked for.
      const isOpen = problem.code === 'unreachable' || problem.status >= 500 || problem.status === 408;
      if (isOpen) return { ...state, kind: 'unsure' };
      return { kind: 'refused', problem, wasUnsure: state.tries > 1, asked: state.asked };
    }
    case 'reset':
      return state.kind === 'refused' || state.kind === 'done' ? IDLE : state;
  }
}

/** A key of 128 random bits. `crypto.randomUUID` is not there over plain http. */
export function newKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return 'console-' + Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
