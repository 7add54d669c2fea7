// @vitest-environment happy-dom
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { api, ask, onSignedOut, setCsrf } from './client';
import { ApiProblem } from './problem';

const network = vi.fn<(request: Request) => Promise<Response>>();

beforeEach(() => vi.stubGlobal('fetch', network));
afterEach(() => {
  vi.unstubAllGlobals();
  network.mockReset();
  setCsrf('');
});

const problem = (status: number, body: unknown): Response => new Response(typeof body === 'string' ? body : JSON.stringify(body), { status });
const refusal = async (call: Promise<unknown>): Promise<ApiProblem> => {
  const error: unknown = await call.then(() => null, (thrown: unknown) => thrown);
  if (!(error instanceof ApiProblem)) throw new Error(`no problem was thrown but ${String(error)}`);
  return error;
};

describe('asking the API', () => {
  it('gives the data', async () => {
    network.mockResolvedValue(Response.json({ name: 'operator-a' }));
    expect((await ask(api.GET('/v1/me'))).name).toBe('operator-a');
  });

  it('sends the token of the session with what changes something, and only then', async () => {
    network.mockImplementation(() => Promise.resolve(Response.json({})));
    setCsrf('token');
    await ask(api.GET('/v1/me'));
    await ask(api.POST('/v1/sign-out'));
    expect(network.mock.calls.map(([request]) => request.headers.get('X-CSRF-Token'))).toEqual([null, 'token']);
  });

  it('throws the problem that the server described', async () => {
    network.mockResolvedValue(problem(409, { title: 'Somebody else decided.', code: 'approval_decided', hint: 'Look.', fields: { actor: 'b' } }));
    const thrown = await refusal(ask(api.GET('/v1/me')));
    expect(thrown).toMatchObject({ status: 409, code: 'approval_decided', hint: 'Look.', fields: { actor: 'b' } });
  });

  it.each(['<html>502 Bad Gateway</html>', '', '[]', '{"detail":"x"}'])('makes a problem of an answer that is none: %s', async (body) => {
    network.mockResolvedValue(problem(502, body));
    expect(await refusal(ask(api.GET('/v1/me')))).toMatchObject({ status: 502, code: 'unexpected' });
  });

  it('says of a lost answer that it may have happened', async () => {
    network.mockRejectedValue(new TypeError('Failed to fetch'));
    const thrown = await refusal(ask(api.POST('/v1/sign-out')));
    expect(thrown.code).toBe('unreachable');
    expect(thrown.hint).toContain('may have happened');
  });

  it('tells when the session has ended, but not when a key was wrong', async () => {
    const ended = vi.fn();
    onSignedOut(ended);
    network.mockImplementation(() => Promise.resolve(problem(401, { title: 'no' })));
    await refusal(ask(api.POST('/v1/sign-in', { body: { key: 'pk_wrong' } })));
    expect(ended).not.toHaveBeenCalled();
    await refusal(ask(api.GET('/v1/overview')));
    expect(ended).toHaveBeenCalledTimes(1);
  });
});
