/** One event as it came. */
export interface SseEvent {
  readonly id: string;
  readonly event: string;
  readonly data: string;
}

const LINE_MAX = 8_000_000;

/**
 * A parser of `text/event-stream` (WHATWG HTML, 9.2): give it text as it comes, it calls `emit` for each event and
 * `beat` for each comment.
 *
 * @throws RangeError when a line is longer than 8 million characters: no server of ours sends such.
 */
export function sseParser(emit: (event: SseEvent) => void, beat: () => void): (text: string) => void {
  let rest = '';
  let id = '';
  let event = '';
  let data: string[] = [];
  let afterReturn = false;

  const field = (line: string): void => {
    if (line === '') {
      if (data.length > 0) emit({ id, event: event || 'message', data: data.join('\n') });
      event = '';
      data = [];
      return;
    }
    if (line.startsWith(':')) {
      beat();
      return;
    }
    const colon = line.indexOf(':');
    const name = colon < 0 ? line : line.slice(0, colon);
    const raw = colon < 0 ? '' : line.slice(colon + 1);
    const value = raw.startsWith(' ') ? raw.slice(1) : raw;
    if (name === 'data') data.push(value);
    else if (name === 'event') event = value;
    else if (name === 'id' && !value.includes('\0')) id = value;
  };

  return (text) => {
    // A CR LF may be cut in two by the network: the LF that follows a CR ends no line of its own.
    rest += afterReturn && text.startsWith('\n') ? text.slice(1) : text;
    if (text !== '') afterReturn = text.endsWith('\r');
    const lines = rest.split(/\r\n|\n|\r/);
    rest = lines.pop() ?? '';
    if (rest.length > LINE_MAX) throw new RangeError('a line of the event stream is too long');
    for (const line of lines) field(line);
  };
}

/** Why a stream ended: the session is over (401), no right to a topic (403), or anything that may pass. */
export class StreamRefused extends Error {
  readonly status: number;

  constructor(status: number) {
    super(`the stream was refused with ${status}`);
    this.name = 'StreamRefused';
    this.status = status;
  }
}

/** What a reader of a stream is told. */
export interface StreamSink {
  open(): void;
  event(event: SseEvent): void;
  beat(): void;
}

/** Reads a stream to its end. Fetch instead of EventSource: that one tells neither status nor heartbeats. */
export async function readStream(url: string, lastEventId: string, sink: StreamSink, signal: AbortSignal): Promise<void> {
  const headers: Record<string, string> = { Accept: 'text/event-stream' };
  if (lastEventId) headers['Last-Event-ID'] = lastEventId;
  const response = await fetch(url, { headers, signal, credentials: 'same-origin', cache: 'no-store' });
  if (!response.ok || !response.body) throw new StreamRefused(response.status);
  sink.open();
  const parse = sseParser((event) => sink.event(event), () => sink.beat());
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    parse(value);
  }
}
