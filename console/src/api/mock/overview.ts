import type { Overview } from '@/api/schema';

import { type Routes, route } from './route';
import { mockRuns } from './runs';
import { HOUR, MINUTE, NOW, SECOND, SEEDS, seeded } from './seed';

const random = seeded(7);
const minutes = Array.from({ length: 60 }, (_, i) => ({
  at: Math.floor(NOW / MINUTE) * MINUTE - (59 - i) * MINUTE,
  counts: { succeeded: 20 + Math.floor(random() * 30), failed: Math.floor(random() * 4), exhausted: Math.floor(random() * 2) },
}));

/** The state at a moment. `quiet` (`?quiet` in the address): nothing needs anybody. */
export function overview(): Overview {
  const at = Date.now() * 1000;
  const quiet = new URLSearchParams(location.search).has('quiet');
  const moved = Math.floor((at - NOW) / SECOND);
  return {
    as_of: at, environment: 'production', tenant: 'acme', running: 412 + (moved % 9), queued: 37, oldest_wait: 2_100_000,
    parked: 1204, quarantined: 0, failed_last_hour: quiet ? 0 : 9, ended_last_hour: 2412,
    spent_today: { tokens_in: 81_200_000, tokens_out: 4_100_000, nano: 41_200_000_000 + moved * 3_100_000, nano_at_maximum: 0 },
    budget_today: 60_000_000_000, per_minute: minutes,
    causes: quiet ? [] : [
      { code: 'loop', words: 'the same search again and again', count: 6, agents: ['support-desk'], example: SEEDS.spiral },
      { code: 'tool_failed', words: 'refund answered 500', count: 3, agents: ['ledger', 'support-desk'], example: mockRuns[20]?.id ?? SEEDS.five },
    ],
    needs: quiet ? [] : [
      { kind: 'approval', words: '3 runs are waiting for an approval', count: 3, since: at - 49 * MINUTE, link: '/approvals' },
      { kind: 'breaker', words: "breaker 'spending' of customer acme is open", count: 1, since: at - 4 * MINUTE, link: '/controls/breakers?breaker=spending' },
      { kind: 'budget', words: "budget 'acme-inbox' is at 91 %", count: 1, since: 0, link: '/costs/budgets?budget=acme-inbox' },
    ],
    quiet_since: quiet ? at - 3 * HOUR : null,
    workers: [{ name: 'worker-1', since: at - 5 * HOUR, lease_until: at + 20 * SECOND, running: 212 }, { name: 'worker-2', since: at - 5 * HOUR, lease_until: at + 21 * SECOND, running: 200 }],
  };
}

export const overviewRoutes: Routes = { 'GET /v1/overview': route<'/v1/overview', 'get'>(overview) };
