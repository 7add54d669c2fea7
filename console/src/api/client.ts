import createClient, { type Middleware } from 'openapi-fetch';

import { ApiProblem } from './problem';
import type { paths } from './schema';

const SAFE = new Set(['GET', 'HEAD', 'OPTIONS']);
let csrf = '';
let whenSignedOut: () => void = () => undefined;

/** The token of the session, sent back with whatever changes something. Given by `Me`. */
export function setCsrf(token: string): void {
  csrf = token;
}

/** Called whenever an answer says that the session has ended. */
export function onSignedOut(listener: () => void): void {
  whenSignedOut = listener;
}

const session: Middleware = {
  onRequest({ request }) {
    if (!SAFE.has(request.method) && csrf) request.headers.set('X-CSRF-Token', csrf);
    return request;
  },
  onResponse({ response, schemaPath }) {
    if (response.status === 401 && !schemaPath.startsWith('/v1/sign-in')) whenSignedOut();
  },
};

/** The API, typed by its OpenAPI description. Use through `ask`. */
export const api = createClient<paths>({
  baseUrl: globalThis.location?.origin ?? '',
  credentials: 'same-origin',
  // Looked up at each call, so that a mock put in place later is used.
  fetch: (request) => globalThis.fetch(request),
});
api.use(session);

/**
 * The data of a call.
 *
 * @throws ApiProblem when the server refused, or did not answer (code "unreachable").
 */
export async function ask<D>(call: Promise<{ data?: D; error?: unknown; response: Response }>): Promise<NonNullable<D>> {
  let answer: Awaited<typeof call>;
  try {
    answer = await call;
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') throw error;
    throw ApiProblem.unreachable(error);
  }
  if (answer.error !== undefined || !answer.response.ok) throw ApiProblem.fromAnswer(answer.response.status, answer.error);
  return answer.data as NonNullable<D>;
}
