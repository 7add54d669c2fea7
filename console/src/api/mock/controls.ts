import type { ControlAsked, ControlShown, ControlState, OpenEffect } from '@/api/schema';

import { Refusal, type Routes, route } from './route';
import { idAt, MINUTE, NOW, SECOND, SEEDS } from './seed';

const controls: ControlShown[] = [
  { id: idAt(NOW - 22 * MINUTE, 1), scope: { kind: 'agent', name: 'inbox-triage' }, action: 'pause', actor: 'key:operator-a', reason: 'bounces', at: NOW - 22 * MINUTE, in_force: true, lifted_at: null, lifted_by: '' },
  { id: idAt(NOW - 90 * MINUTE, 2), scope: { kind: 'agent', name: 'ledger' }, action: 'kill', actor: 'key:operator-b', reason: 'a drill', at: NOW - 90 * MINUTE, in_force: false, lifted_at: NOW - 80 * MINUTE, lifted_by: 'key:operator-a' },
];
const byKey = new Map<string, ControlShown>();

const effects = (now: number): OpenEffect[] =>
  [3, 6, 9, 12].map((seconds, i) => ({ run: SEEDS.five, path: String(i), name: ['refund', 'mail', 'search_kb', 'refund'][i] ?? '', attempt: 1, ends_by: now + seconds * SECOND }));

function progress(control: ControlShown): ControlState {
  const now = Date.now() * 1000;
  const open = effects(control.at).filter((effect) => effect.ends_by > now);
  const state = control.lifted_at ? 'lifted' : now < control.at + SECOND ? 'requested' : open.length > 0 ? 'sealed' : 'quiesced';
  return { ...control, state, sealed_at: now < control.at + SECOND ? null : control.at + SECOND / 2, open_effects: open, open_total: open.length, latest_end: open.at(-1)?.ends_by ?? null, in_doubt: control.action === 'kill' ? 2 : 0, stopped_runs: 41, blockers: [] };
}

/** Controls. The first try of each kill gets no answer, to see what that looks like. */
export const controlRoutes: Routes = {
  'GET /v1/controls': route<'/v1/controls', 'get'>(() => ({ items: controls.toSorted((a, b) => Number(b.in_force) - Number(a.in_force)), next: null })),
  'GET /v1/controls/{id}': route<'/v1/controls/{id}', 'get'>(({ params }) => {
    const one = controls.find((control) => control.id === params['id']);
    return one ? progress(one) : new Refusal(404, 'control_unknown', `there is no control ${params['id']}`);
  }),
  'POST /v1/controls/preview': route<'/v1/controls/preview', 'post'>(({ body }) => {
    const { scope, action } = body as ControlAsked;
    const now = Date.now() * 1000;
    if (scope.kind === 'customer') return new Refusal(422, 'scope_unsupported', 'nothing can be stopped by customer yet', 'stop its runs, or the tenant');
    return {
      as_of: now, running: 41, queued: 12, parked: 3, spent_nano: 4_310_000_000, open_effects: effects(now), open_total: 4,
      not_reached: ['calls under way go on until they end; they are listed', scope.kind === 'tool' ? 'what reaches the same system by another tool, or from outside Penstock' : '2 children of other agents'], command: `penstock ${action} --${scope.kind} ${scope.name}`,
    };
  }),
  'POST /v1/controls': route<'/v1/controls', 'post'>(({ body, headers }) => {
    const { scope, action, reason } = body as ControlAsked;
    const key = headers.get('Idempotency-Key') ?? '';
    const known = byKey.get(key);
    if (known) return progress(known);
    const at = Date.now() * 1000;
    const made: ControlShown = { id: idAt(at, controls.length), scope: { kind: scope.kind, name: scope.name ?? '' }, action, actor: 'key:operator-a', reason: reason ?? '', at, in_force: action !== 'resume', lifted_at: action === 'resume' ? at : null, lifted_by: action === 'resume' ? 'key:operator-a' : '' };
    controls.unshift(made);
    byKey.set(key, made);
    return action === 'kill' ? new Refusal(504, 'timed_out', 'The server took too long.') : progress(made);
  }),
};
