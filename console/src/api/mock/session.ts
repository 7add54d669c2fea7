import type { Me } from '@/api/schema';

import { Refusal, type Routes, route } from './route';

const PERMISSIONS = [
  'approvals:decide', 'audit:read', 'breakers:set', 'budgets:set', 'cache:clear', 'controls:stop', 'costs:read', 'everything:stop', 'keys:manage', 'metrics:read',
  'payloads:read', 'releases:approve', 'releases:manage', 'runs:read', 'runs:steer', 'runs:submit', 'webhooks:manage',
];

// `?as=viewer` in the address tries the console with fewer rights; `?as=nobody` signed out.
const role = new URLSearchParams(globalThis.location?.search).get('as') ?? 'admin';
let signedIn = role !== 'nobody';

const me: Me = {
  actor: 'key:operator-a',
  name: 'operator-a',
  tenant: 'acme',
  environment: 'production',
  roles: [role === 'viewer' ? 'viewer' : 'admin'],
  permissions: role === 'viewer' ? ['runs:read', 'costs:read'] : role === 'nothing' ? [] : PERMISSIONS,
  signed_in: 'session',
  expires_at: null,
  csrf: 'mock-csrf',
  sign_out: true,
  version: '0.1.0',
};

export const sessionRoutes: Routes = {
  'GET /v1/me': route<'/v1/me', 'get'>(() =>
    signedIn ? me : new Refusal(401, 'unauthenticated', 'You are not signed in.', 'Sign in with a key.'),
  ),
  'GET /v1/sign-in': route<'/v1/sign-in', 'get'>(() => ({ key: true, oidc: 'Example ID' })),
  'POST /v1/sign-in': route<'/v1/sign-in', 'post'>(({ body }) => {
    if (!(body as { key: string }).key.startsWith('pk_')) {
      return new Refusal(401, 'key_invalid', 'This key is not valid.', 'Look for a missing letter; a key begins with pk_.');
    }
    signedIn = true;
    return me;
  }),
  'POST /v1/sign-out': () => {
    signedIn = false;
    return undefined;
  },
  'GET /v1/agents': route<'/v1/agents', 'get'>(() => ({
    items: ['support-desk', 'inbox-triage', 'ledger'].map((name) => ({
      name, releases: ['r41', 'r42'], here: true, offered: true, model: 'simulated', simulated: true, tools: ['search_kb', 'refund'],
      budget: { tokens: 20_000, nano: 100_000_000, steps: 20, calls: 0, attempts: 0, seconds: 0 },
      input: null, output: null, responder: '',
    })),
  })),
};
