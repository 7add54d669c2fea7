import { linkOptions } from '@tanstack/react-router';

/** The pages of the navigation, in the order of how often somebody on call needs them. `key` follows `g`; `sub`: below the one before. */
export const NAVIGATION = [
  { key: 'o', label: 'Overview', needs: 'runs:read', link: linkOptions({ to: '/' }) },
  { key: 'r', label: 'Runs', needs: 'runs:read', link: linkOptions({ to: '/runs' }) },
  { key: 'a', label: 'Approvals', needs: 'runs:read', link: linkOptions({ to: '/approvals/{-$id}', params: { id: undefined } }) },
  { key: 's', label: 'Cases', needs: 'runs:read', link: linkOptions({ to: '/approvals/cases' }), sub: true },
  { key: 'e', label: 'People', needs: 'approvals:decide', link: linkOptions({ to: '/approvals/people' }), sub: true },
  { key: 'k', label: 'Controls', needs: 'runs:read', link: linkOptions({ to: '/controls/{-$id}', params: { id: undefined } }) },
  { key: 't', label: 'Breakers', needs: 'runs:read', link: linkOptions({ to: '/controls/breakers' }), sub: true },
  { key: 'p', label: 'Policies', needs: 'runs:read', link: linkOptions({ to: '/policies' }) },
  { key: 'c', label: 'Costs', needs: 'costs:read', link: linkOptions({ to: '/costs' }) },
  { key: 'b', label: 'Budgets', needs: 'costs:read', link: linkOptions({ to: '/costs/budgets' }), sub: true },
  { key: 'l', label: 'Releases', needs: 'runs:read', link: linkOptions({ to: '/releases' }) },
  { key: 'u', label: 'Audit', needs: 'audit:read', link: linkOptions({ to: '/audit' }) },
] as const;
