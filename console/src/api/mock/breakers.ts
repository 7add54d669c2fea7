import type { BreakerCircuit, BreakerCondition, BreakerShown, BreakerTrip } from '@/api/schema';

import { Refusal, type Routes, route } from './route';
import { HOUR, idAt, MINUTE, NOW, SECOND, SEEDS } from './seed';

const HOSTILE = '<b onmouseover=alert(1)>\u202egnp';
const condition = (over: Partial<BreakerCondition> & Pick<BreakerCondition, 'kind'>): BreakerCondition => ({ limit: 0, calls: 0, seconds: 0, expected: 0, of: 'call', slow_seconds: 0, baseline: 0, ...over });
const circuit = (value: string, over: Partial<BreakerCircuit> = {}): BreakerCircuit => ({ value, state: 'closed', opened_at: null, until: null, probes_ok: 0, expected_nano: null, trip: null, ...over });
const breaker = (over: Partial<BreakerShown> & Pick<BreakerShown, 'name' | 'scope' | 'conditions'>): BreakerShown => ({
  value: '*', open_seconds: 60, probes: 3, meanwhile: 'fail', fallback: '', cancel_in_flight: true, open: 0, half_open: 0, circuits: [], ...over,
});

const TRIP = idAt(NOW - 4 * MINUTE, 301);
const PROBED = idAt(NOW - 20 * MINUTE, 302);
const trips: (BreakerTrip & { readonly of: string })[] = [
  {
    of: 'spending', id: TRIP, value: 'acme', at: NOW - 4 * MINUTE, by: 'worker-1', sealed: true, closed_at: null, closed_by: '',
    evidence: {
      condition: 'cost_mean', words: 'the last 20 calls cost 5.12 times what is expected', worker: 'worker-1', figures: { mean_nano: 9_830_000, expected_nano: 1_920_000, calls: 20, factor: 2, evidence: 31_000_000 },
      calls: [SEEDS.spiral, SEEDS.hostile, SEEDS.five].map((run, i) => ({ run, name: 'gpt-5-mini', nano: 8_400_000 + i * 1_900_000, latency_us: 1_900_000 + i * 400_000, failure: i === 1 ? `provider: ${HOSTILE}` : '' })),
    },
  },
  { of: 'failing-tools', id: PROBED, value: 'refund', at: NOW - 20 * MINUTE, by: 'worker-2', sealed: false, closed_at: null, closed_by: '', evidence: { condition: 'failures', words: '5 calls failed in a row', figures: { failures: 5 }, calls: [{ run: SEEDS.five, name: 'refund', nano: 0, latency_us: 301_000, failure: 'tool_failed' }] } },
  { of: 'failing-tools', id: idAt(NOW - 9 * HOUR, 303), value: HOSTILE, at: NOW - 9 * HOUR, by: 'key:operator-a', sealed: true, closed_at: NOW - 9 * HOUR + 3 * MINUTE, closed_by: 'key:operator-b', evidence: { condition: 'person', words: 'the shop is being moved', figures: {}, calls: [] } },
];

const breakers: BreakerShown[] = [
  breaker({ name: 'answers', scope: 'agent', conditions: [condition({ kind: 'drift', baseline: 200 })], meanwhile: 'queue', circuits: [circuit('support-desk'), circuit('ledger')] }),
  breaker({ name: 'failing-tools', scope: 'tool', conditions: [condition({ kind: 'failures', limit: 5 }), condition({ kind: 'error_rate', limit: 0.5, calls: 20, seconds: 60 })], meanwhile: 'queue', half_open: 1, circuits: [circuit('refund', { state: 'half_open', opened_at: NOW - 20 * MINUTE, until: NOW - MINUTE, probes_ok: 1, trip: PROBED }), circuit('search_kb'), circuit(HOSTILE)] }),
  breaker({ name: 'slow-model', scope: 'model', value: 'gpt-5-mini', conditions: [condition({ kind: 'latency', limit: 0.05, calls: 20, seconds: 120, slow_seconds: 30 })], meanwhile: 'fallback', fallback: 'claude-haiku' }),
  breaker({
    name: 'spending', scope: 'customer', conditions: [condition({ kind: 'cost_mean', limit: 2, calls: 20, baseline: 100 }), condition({ kind: 'cost_rate', limit: 5_000_000_000, seconds: 60 })], open: 1,
    circuits: [circuit('acme', { state: 'open', opened_at: NOW - 4 * MINUTE, until: NOW + 56 * SECOND, trip: TRIP, expected_nano: 1_920_000 }), circuit('beta', { expected_nano: 1_400_000 }), circuit('(other)')],
  }),
];

const find = (name: string | undefined): BreakerShown | Refusal => breakers.find((one) => one.name === name) ?? new Refusal(404, 'breaker_unknown', `there is no breaker '${name}'`);

/** Breakers: one open, one half-open with a probe, others closed. */
export const breakerRoutes: Routes = {
  'GET /v1/breakers': route<'/v1/breakers', 'get'>(() => ({ items: new URLSearchParams(location.search).has('quiet') ? [] : breakers, next: null })),
  'GET /v1/breakers/{name}': route<'/v1/breakers/{name}', 'get'>(({ params }) => find(params['name'])),
  'GET /v1/breakers/{name}/trips': route<'/v1/breakers/{name}/trips', 'get'>(({ params }) => ({ items: trips.filter((trip) => trip.of === params['name']), next: null })),
  'POST /v1/breakers/{name}/reset': route<'/v1/breakers/{name}/reset', 'post'>(({ params, body }) => {
    const one = find(params['name']);
    if (one instanceof Refusal) return one;
    const { value } = body as { value: string | null };
    const shut = one.circuits.filter((each) => each.state !== 'closed' && (value === null || value === each.value));
    const circuits = one.circuits.map((each) => (shut.includes(each) ? { ...each, state: 'closed' as const, opened_at: null, until: null } : each));
    breakers[breakers.indexOf(one)] = { ...one, circuits, open: circuits.filter((each) => each.state === 'open').length, half_open: circuits.filter((each) => each.state === 'half_open').length };
    return { trip: null, closed: shut.length };
  }),
  'POST /v1/breakers/{name}/trip': route<'/v1/breakers/{name}/trip', 'post'>(({ params, body }) => {
    const one = find(params['name']);
    if (one instanceof Refusal) return one;
    const { value, reason } = body as { value: string | null; reason: string };
    const now = Date.now() * 1000;
    const trip: BreakerTrip & { readonly of: string } = { of: one.name, id: idAt(now, trips.length), value: value ?? one.value, at: now, by: 'key:operator-a', sealed: true, closed_at: null, closed_by: '', evidence: { condition: 'person', words: reason, figures: {}, calls: [] } };
    trips.unshift(trip);
    const circuits = [circuit(trip.value, { state: 'open', opened_at: now, until: now + 60 * SECOND, trip: trip.id }), ...one.circuits.filter((each) => each.value !== trip.value)];
    breakers[breakers.indexOf(one)] = { ...one, circuits, open: circuits.filter((each) => each.state === 'open').length };
    return { trip: trip.id, closed: 0 };
  }),
};
