import { linkOptions } from '@tanstack/react-router';

/** The pages of the navigation, in the order of how often somebody on call needs them. `key` follows `g`. */
export const NAVIGATION = [
  { key: 'o', label: 'Overview', needs: 'runs:read', link: linkOptions({ to: '/' }) },
  { key: 'r', label: 'Runs', needs: 'runs:read', link: linkOptions({ to: '/runs' }) },
  { key: 'a', label: 'Approvals', needs: 'runs:read', link: linkOptions({ to: '/approvals/{-$id}', params: { id: undefined } }) },
  { key: 'k', label: 'Controls', needs: 'runs:read', link: linkOptions({ to: '/controls/{-$id}', params: { id: undefined } }) },
  { key: 'c', label: 'Costs', needs: 'costs:read', link: linkOptions({ to: '/costs' }) },
] as const;
