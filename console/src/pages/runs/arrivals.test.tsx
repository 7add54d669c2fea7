// @vitest-environment happy-dom
import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { act, cleanup, render, screen } from '@testing-library/react';
import { afterEach, describe, expect, it } from 'vitest';

import type { RunLine } from '@/api/schema';
import { LiveProvider } from '@/app/live/context';
import type { Line } from '@/app/live/lines';
import type { FromHub, ToHub } from '@/app/live/protocol';

import { useArrivals } from './arrivals';
import type { RunsSearch } from './search';

let tell: (message: FromHub) => void;
let told: ToHub[];
const open = (listen: (message: FromHub) => void): Line => {
  tell = listen;
  told = [];
  return { send: (message) => told.push(message), close: () => undefined };
};
const client = new QueryClient();
const line = (n: number, agent = 'a'): RunLine => ({ id: `r${n}`, created_at: n, agent, tags: {}, waiting: [] }) as unknown as RunLine;

function Page({ rows, search }: { rows: RunLine[] | null; search: RunsSearch }) {
  const { count, missed } = useArrivals(search, rows);
  return <output>{count}{missed ? ' missed' : ''}</output>;
}

function Whole(props: { rows: RunLine[] | null; search: RunsSearch }) {
  return <QueryClientProvider client={client}><LiveProvider open={open}><Page {...props} /></LiveProvider></QueryClientProvider>;
}

/** What comes over the stream, and the frame after it. */
async function comes(...lines: RunLine[]): Promise<void> {
  await act(async () => {
    tell({ kind: 'message', topic: 'runs', event: 'runs', data: { changed: lines } });
    await new Promise(requestAnimationFrame);
  });
}

const said = (): string | null => screen.getByRole('status').textContent;

afterEach(cleanup);

describe('runs that came since', () => {
  it('are counted once each, when they are newer than the list and its filter finds them', async () => {
    render(<Whole rows={[line(5), line(4)]} search={{ agent: 'a' }} />);
    expect(told.at(-1)).toEqual({ kind: 'topics', topics: [{ topic: 'runs', after: 0 }] });
    await comes(line(5), line(3), line(6), line(7, 'b'));
    await comes(line(6));
    expect(said()).toBe('1');
    await comes(line(8));
    expect(said()).toBe('2');
  });

  it('are not counted before the list has been read', async () => {
    const { rerender } = render(<Whole rows={null} search={{}} />);
    await comes(line(1), line(2));
    rerender(<Whole rows={[]} search={{}} />);
    expect(said()).toBe('0');
    await comes(line(3));
    expect(said()).toBe('1');
  });

  it('are forgotten when the filter changes', async () => {
    const { rerender } = render(<Whole rows={[line(5)]} search={{}} />);
    await comes(line(6));
    rerender(<Whole rows={[line(5)]} search={{ agent: 'a' }} />);
    expect(said()).toBe('0');
  });

  it('may be more than are known of after a cut', async () => {
    render(<Whole rows={[line(5)]} search={{}} />);
    await act(async () => {
      tell({ kind: 'message', topic: 'runs', event: 'missed', data: null });
      await new Promise(requestAnimationFrame);
    });
    expect(said()).toBe('0 missed');
  });
});
