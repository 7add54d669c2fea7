import { describe, expect, it } from 'vitest';

import { type SseEvent, sseParser } from './sse';

function parse(chunks: readonly string[]): { events: SseEvent[]; beats: number } {
  const events: SseEvent[] = [];
  let beats = 0;
  const feed = sseParser((event) => events.push(event), () => (beats += 1));
  for (const chunk of chunks) feed(chunk);
  return { events, beats };
}

const STREAM = 'retry: 1000\n\nid: a:1\nevent: event\ndata: {"seq":1}\n\n: beat\n\nevent: heartbeat\ndata: {}\n\n';

describe('the parser of event streams', () => {
  it('gives the events and the beats', () => {
    const { events, beats } = parse([STREAM]);
    expect(events).toEqual([
      { id: 'a:1', event: 'event', data: '{"seq":1}' },
      { id: 'a:1', event: 'heartbeat', data: '{}' },
    ]);
    expect(beats).toBe(1);
  });

  it.each(['\n', '\r\n', '\r'])('gives the same however the network cuts it, with line ends %j', (end) => {
    const text = STREAM.replaceAll('\n', end) + (end === '\r' ? 'x' : '');
    const whole = parse([text]).events;
    expect(whole).toHaveLength(2);
    for (let at = 1; at < text.length; at += 1) expect(parse([text.slice(0, at), text.slice(at)]).events, String(at)).toEqual(whole);
    expect(parse([...text]).events).toEqual(whole);
  });

  it('joins data lines and ignores an event that is not finished', () => {
    expect(parse(['data: a\ndata: b\n\ndata: c\n']).events).toEqual([{ id: '', event: 'message', data: 'a\nb' }]);
  });

  it('refuses a line without end', () => {
    const feed = sseParser(() => undefined, () => undefined);
    expect(() => feed('x'.repeat(8_000_001))).toThrow(RangeError);
  });
});
