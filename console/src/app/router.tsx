import type { QueryClient } from '@tanstack/react-query';
import {
  createRootRouteWithContext,
  createRoute,
  createRouter,
  lazyRouteComponent,
  Outlet,
  redirect,
} from '@tanstack/react-router';

import { togetherSearch } from '@/pages/approvals/together/search';
import { auditSearch } from '@/pages/audit/search';
import { breakersSearch } from '@/pages/breakers/search';
import { budgetsSearch } from '@/pages/budgets/search';
import { costsSearch } from '@/pages/costs/search';
import { Missing } from '@/pages/missing/Missing';
import { PageError } from '@/pages/missing/PageError';
import { policiesSearch } from '@/pages/policies/search';
import { releasesSearch } from '@/pages/releases/search';
import { casesSearch } from '@/pages/cases/search';
import { compareSearch, runSearch } from '@/pages/run/search';
import { runsSearch } from '@/pages/runs/search';
import { Loading } from '@/ui/Loading';

import { parseSearch, pick, stringifySearch } from './search';
import { meQuery } from './session';
import { Shell } from './Shell';

const root = createRootRouteWithContext<{ queryClient: QueryClient }>()({ component: Outlet });

const signIn = createRoute({
  getParentRoute: () => root,
  path: '/sign-in',
  validateSearch: (search) => pick(search, ['next', 'error']),
  component: lazyRouteComponent(() => import('@/pages/signin/SignInPage'), 'SignInPage'),
});

/** Everything that needs a caller: signed out, one is sent to the sign-in page and brought back after. */
const inside = createRoute({
  getParentRoute: () => root,
  id: 'inside',
  beforeLoad: async ({ context, location }) => {
    const me = await context.queryClient.ensureQueryData(meQuery);
    if (me === null) throw redirect({ to: '/sign-in', search: { next: location.href } });
  },
  component: Shell,
});

const overview = createRoute({
  getParentRoute: () => inside,
  path: '/',
  component: lazyRouteComponent(() => import('@/pages/overview/OverviewPage'), 'OverviewPage'),
});

const runs = createRoute({
  getParentRoute: () => inside,
  path: '/runs',
  validateSearch: runsSearch,
  component: lazyRouteComponent(() => import('@/pages/runs/RunsPage'), 'RunsPage'),
});

const run = createRoute({
  getParentRoute: () => inside,
  path: '/runs/$id',
  validateSearch: runSearch,
  component: lazyRouteComponent(() => import('@/pages/run/RunPage'), 'RunPage'),
});

const compare = createRoute({
  getParentRoute: () => inside,
  path: '/runs/$left/vs/$right',
  validateSearch: compareSearch,
  component: lazyRouteComponent(() => import('@/pages/run/ComparePage'), 'ComparePage'),
});

const approvals = createRoute({
  getParentRoute: () => inside,
  path: '/approvals/{-$id}',
  component: lazyRouteComponent(() => import('@/pages/approvals/ApprovalsPage'), 'ApprovalsPage'),
});

const together = createRoute({
  getParentRoute: () => inside,
  path: '/approvals/together',
  validateSearch: togetherSearch,
  component: lazyRouteComponent(() => import('@/pages/approvals/together/TogetherPage'), 'TogetherPage'),
});

const cases = createRoute({
  getParentRoute: () => inside,
  path: '/approvals/cases',
  validateSearch: casesSearch,
  component: lazyRouteComponent(() => import('@/pages/cases/CasesPage'), 'CasesPage'),
});

const people = createRoute({
  getParentRoute: () => inside,
  path: '/approvals/people',
  component: lazyRouteComponent(() => import('@/pages/people/PeoplePage'), 'PeoplePage'),
});

const controls = createRoute({
  getParentRoute: () => inside,
  path: '/controls/{-$id}',
  validateSearch: (search) => pick(search, ['scope', 'name', 'action']),
  component: lazyRouteComponent(() => import('@/pages/controls/ControlsPage'), 'ControlsPage'),
});

const costs = createRoute({
  getParentRoute: () => inside,
  path: '/costs',
  validateSearch: costsSearch,
  component: lazyRouteComponent(() => import('@/pages/costs/CostsPage'), 'CostsPage'),
});

const budgets = createRoute({
  getParentRoute: () => inside,
  path: '/costs/budgets',
  validateSearch: budgetsSearch,
  component: lazyRouteComponent(() => import('@/pages/budgets/BudgetsPage'), 'BudgetsPage'),
});

const breakers = createRoute({
  getParentRoute: () => inside,
  path: '/controls/breakers',
  validateSearch: breakersSearch,
  component: lazyRouteComponent(() => import('@/pages/breakers/BreakersPage'), 'BreakersPage'),
});

const policies = createRoute({
  getParentRoute: () => inside,
  path: '/policies',
  validateSearch: policiesSearch,
  component: lazyRouteComponent(() => import('@/pages/policies/PoliciesPage'), 'PoliciesPage'),
});

const releases = createRoute({
  getParentRoute: () => inside,
  path: '/releases',
  validateSearch: releasesSearch,
  component: lazyRouteComponent(() => import('@/pages/releases/ReleasesPage'), 'ReleasesPage'),
});

const audit = createRoute({
  getParentRoute: () => inside,
  path: '/audit',
  validateSearch: auditSearch,
  component: lazyRouteComponent(() => import('@/pages/audit/AuditPage'), 'AuditPage'),
});

const missing = createRoute({ getParentRoute: () => inside, path: '$', component: Missing });

const tree = root.addChildren([signIn, inside.addChildren([overview, runs, run, compare, approvals, together, cases, people, controls, breakers, policies, costs, budgets, releases, audit, missing])]);

/** The router of the console: addresses as in `NAVIGATION` and in links between pages. */
export function makeRouter(queryClient: QueryClient) {
  return createRouter({
    routeTree: tree,
    context: { queryClient },
    parseSearch,
    stringifySearch,
    defaultPreload: 'intent',
    defaultPendingMs: 150,
    defaultPendingComponent: () => <Loading />,
    defaultErrorComponent: PageError,
    defaultNotFoundComponent: Missing,
    scrollRestoration: true,
  });
}

declare module '@tanstack/react-router' {
  interface Register {
    router: ReturnType<typeof makeRouter>;
  }
}
