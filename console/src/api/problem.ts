import type { Problem } from './schema';

/** An error of the API (RFC 9457), or of reaching it. */
export class ApiProblem extends Error {
  readonly status: number;
  readonly code: string;
  readonly title: string;
  readonly hint: string;
  readonly instance: string;
  readonly fields: Readonly<Record<string, unknown>>;

  constructor(problem: Partial<Problem> & { readonly title: string }) {
    super(problem.title);
    this.name = 'ApiProblem';
    this.status = problem.status ?? 0;
    this.code = problem.code ?? 'unexpected';
    this.title = problem.title;
    this.hint = problem.hint ?? '';
    this.instance = problem.instance ?? '';
    this.fields = problem.fields ?? {};
  }

  /** Any thrown value as a problem. */
  static of(error: unknown): ApiProblem {
    if (error instanceof ApiProblem) return error;
    const words = error instanceof Error ? error.message : String(error);
    return new ApiProblem({ title: 'The console made an error.', hint: words, code: 'console_error' });
  }

  /** The problem of an answer, whose body may be of anything that stands between (a proxy's page). */
  static fromAnswer(status: number, body: unknown): ApiProblem {
    if (typeof body === 'object' && body !== null && 'title' in body && typeof body.title === 'string') {
      return new ApiProblem({ ...(body as Problem), status });
    }
    const hint = 'Something between the console and the server may have answered. Look at the server and its proxy.';
    return new ApiProblem({ status, code: 'unexpected', title: `The server answered ${status} without saying why.`, hint });
  }

  /** The server did not answer: a change that was asked for may or may not have happened. */
  static unreachable(cause: unknown): ApiProblem {
    const problem = new ApiProblem({
      code: 'unreachable',
      title: 'The server did not answer.',
      hint: 'It may be stopped or restarting, or the network is down. What was asked for may have happened all the same.',
    });
    problem.cause = cause;
    return problem;
  }
}
