import { approvalRoutes } from './approvals';
import { auditRoutes } from './audit';
import { breakerRoutes } from './breakers';
import { budgetRoutes } from './budgets';
import { cacheRoutes } from './cache';
import { controlRoutes } from './controls';
import { costRoutes } from './costs';
import { overviewRoutes } from './overview';
import { peopleRoutes } from './people';
import { policyRoutes } from './policies';
import { releaseRoutes } from './releases';
import { Refusal, type Routes } from './route';
import { runRoutes } from './runs';
import { sessionRoutes } from './session';
import { traceRoutes } from './traces';

const routes: Routes = {
  ...sessionRoutes,
  ...overviewRoutes,
  ...runRoutes,
  ...traceRoutes,
  ...approvalRoutes,
  ...auditRoutes,
  ...controlRoutes,
  ...costRoutes,
  ...cacheRoutes,
  ...budgetRoutes,
  ...breakerRoutes,
  ...peopleRoutes,
  ...policyRoutes,
  ...releaseRoutes,
};

const compiled = Object.entries(routes).map(([name, handler]) => {
  const [method = '', template = ''] = name.split(' ');
  const names: string[] = [];
  const pattern = template.replace(/\{(\w+)\}/g, (_, part: string) => {
    names.push(part);
    return part === 'path' ? '(.+)' : '([^/]+)';
  });
  return { method, names, pattern: new RegExp(`^${pattern}$`), handler };
});

/** Answers a request as the server would. */
export async function answer(request: Request, url: URL): Promise<Response> {
  for (const { method, names, pattern, handler } of compiled) {
    const match = method === request.method ? pattern.exec(url.pathname) : null;
    if (!match) continue;
    const params = Object.fromEntries(names.map((name, i) => [name, decodeURIComponent(match[i + 1] ?? '')]));
    const text = await request.text();
    const given = await handler({ params, query: url.searchParams, body: text ? JSON.parse(text) : undefined, headers: request.headers });
    if (given instanceof Refusal) return problem(given);
    return given === undefined ? new Response(null, { status: 204 }) : Response.json(given);
  }
  return problem(new Refusal(404, 'not_found', 'There is no such thing.', 'Look at the address.'));
}

function problem(refusal: Refusal): Response {
  const { status, code, title, hint, fields } = refusal;
  const body = { type: `https://penstock.invalid/errors/${code}`, title, status, code, hint, instance: 'req_mock', fields };
  return Response.json(body, { status, headers: { 'Content-Type': 'application/problem+json' } });
}
