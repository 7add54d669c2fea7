import type { paths } from '@/api/schema';

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
import { runRoutes } from './runs';
import { sessionRoutes } from './session';
import { traceRoutes } from './traces';

/** What a handler is given. `id` etc. are the parts of the path that its template names. */
export interface Asked {
  readonly params: Readonly<Record<string, string>>;
  readonly query: URLSearchParams;
  readonly body: unknown;
  readonly headers: Headers;
}

/** A refusal, as the server would give it. */
export class Refusal {
  readonly status: number;
  readonly code: string;
  readonly title: string;
  readonly hint: string;
  readonly fields: Record<string, unknown>;

  constructor(status: number, code: string, title: string, hint = '', fields: Record<string, unknown> = {}) {
    this.status = status;
    this.code = code;
    this.title = title;
    this.hint = hint;
    this.fields = fields;
  }
}

/** The JSON that an operation answers with, from the API's description. */
export type Answer<P extends keyof paths, M extends keyof paths[P]> = paths[P][M] extends { responses: infer R }
  ? { [S in keyof R & (200 | 201 | 202)]: R[S] extends { content: { 'application/json': infer J } } ? J : undefined }[keyof R & (200 | 201 | 202)]
  : never;

type Handler = (asked: Asked) => unknown;

/** Handlers by "METHOD /template", as in the API's description. */
export type Routes = Readonly<Record<string, Handler>>;

/** Types a handler by its operation: `route<'/v1/me', 'get'>((asked) => …)`. */
export function route<P extends keyof paths, M extends keyof paths[P]>(
  handler: (asked: Asked) => Answer<P, M> | Refusal | Promise<Answer<P, M> | Refusal>,
): Handler {
  return handler;
}

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
