import type { paths } from '@/api/schema';

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
