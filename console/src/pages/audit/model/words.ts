import type { ActionShown } from '@/api/schema';

const RUN = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const OF_RUNS = new Set(['run', 'approval', 'case', 'content', 'audit']);

/** Whether an action was on a run, so that there is a page of it. */
export const runOf = ({ action, target }: Pick<ActionShown, 'action' | 'target'>): boolean => OF_RUNS.has(action.split('.')[0] ?? '') && RUN.test(target);

/** What an action's record says besides, in one line: "decision approve · seconds 3". Empty values are left out. */
export function detailWords(detail: Readonly<Record<string, unknown>>): string {
  return Object.entries(detail).flatMap(([name, value]) => {
    if (value === '' || value === null || value === undefined) return [];
    return [`${name.replaceAll('_', ' ')} ${typeof value === 'string' ? value : JSON.stringify(value)}`];
  }).join(' · ');
}
