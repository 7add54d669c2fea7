import { queryOptions } from '@tanstack/react-query';

import { api, ask } from '@/api/client';
import { keys } from '@/api/keys';
import { ApiProblem } from '@/api/problem';

import { toModel, type TraceModel } from './model/trace';

/** A run, whole but for its calls; the topic `run:ID` keeps it current. */
export function runQuery(id: string) {
  return queryOptions({
    queryKey: keys.run(id),
    queryFn: ({ signal }) => ask(api.GET('/v1/runs/{run}', { params: { path: { run: id } }, signal })),
  });
}

/**
 * What is newer of two readings of a trace. The stream may be ahead of a reading that took long: then only what the
 * server alone can reckon is taken from the reading. An index is the same span in both.
 */
export function newer(old: TraceModel | undefined, read: TraceModel): TraceModel {
  if (!old || old.run !== read.run || read.asOf >= old.asOf) return read;
  const { critical, critical_share, loops, marks, children } = read;
  return { ...old, critical, critical_share, loops, marks, children };
}

/** All spans of a run. Comparing fifty thousand of them value by value would take longer than drawing them. */
export function traceQuery(id: string) {
  return queryOptions({
    queryKey: keys.trace(id),
    staleTime: Infinity,
    gcTime: 60_000,
    structuralSharing: (old, read) => newer(old as TraceModel | undefined, read as TraceModel),
    queryFn: async ({ signal }) => toModel(await ask(api.GET('/v1/runs/{run}/trace', { params: { path: { run: id } }, signal }))),
  });
}

/** One span with its content. */
export function spanQuery(id: string, path: string) {
  return queryOptions({
    queryKey: keys.span(id, path),
    staleTime: Infinity,
    queryFn: ({ signal }) => ask(api.GET('/v1/runs/{run}/spans/{path}', { params: { path: { run: id, path } }, signal })),
  });
}

/** Events of one page of the tape. */
export const TAPE_PAGE = 50;

/** The page of the tape that an event is on. While the run goes on a page grows, so each event asks for its own reading. */
export function tapeQuery(id: string, seq: number, ended: boolean) {
  const after = Math.floor((seq - 1) / TAPE_PAGE) * TAPE_PAGE;
  return queryOptions({
    queryKey: [...keys.events(id), after, ended ? null : seq] as const,
    staleTime: Infinity,
    queryFn: ({ signal }) => ask(api.GET('/v1/runs/{run}/events', { params: { path: { run: id }, query: { after, limit: TAPE_PAGE } }, signal })),
  });
}

/** Two runs, call by call. */
export function diffQuery(left: string, right: string) {
  return queryOptions({
    queryKey: keys.diff(left, right),
    queryFn: ({ signal }) => ask(api.GET('/v1/runs/{run}/diff/{other}', { params: { path: { run: left, other: right } }, signal })),
  });
}

/** Bytes of one piece of a payload. */
export const PIECE = 64 * 1024;

/**
 * A piece of a payload as bytes: they are a download to browsers, so that nothing in them is ever run.
 *
 * @throws ApiProblem when the server refused, or did not answer.
 */
export async function readPiece(run: string, ref: string, offset: number): Promise<{ bytes: Uint8Array; size: number; text: boolean }> {
  let response: Response;
  try {
    response = await fetch(`/v1/runs/${run}/payloads/${encodeURIComponent(ref)}?offset=${offset}&limit=${PIECE}`, { credentials: 'same-origin' });
  } catch (error) {
    throw ApiProblem.unreachable(error);
  }
  if (!response.ok) throw ApiProblem.fromAnswer(response.status, await response.json().catch(() => undefined));
  const bytes = new Uint8Array(await response.arrayBuffer());
  const size = Number(response.headers.get('X-Payload-Size') ?? offset + bytes.length);
  return { bytes, size, text: (response.headers.get('Content-Type') ?? '').startsWith('text/') };
}
