/** How current the figures are: `since` is when the stream was last heard (milliseconds since the epoch). */
export interface LiveState {
  readonly state: 'connecting' | 'live' | 'stale' | 'signed_out';
  readonly since: number;
}

/** A topic that a tab looks at: "overview", "run:ID". Of a run it has the events up to `after` already. */
export interface Wanted {
  readonly topic: string;
  readonly after: number;
}

/** What a tab tells the hub. */
export type ToHub =
  | { readonly kind: 'topics'; readonly topics: readonly Wanted[] }
  | { readonly kind: 'wake' }
  | { readonly kind: 'bye' };

/**
 * One event of the stream. `event` is the topic's own name, or for `run:ID` what happened: "event" (of the journal),
 * "status", "tokens", "answer". Of every topic "missed": something may have happened that was not heard, so what was
 * read before may be old. `data` is the JSON that the server sent.
 */
export interface LiveMessage {
  readonly kind: 'message';
  readonly topic: string;
  readonly event: string;
  readonly data: unknown;
}

/** What the hub tells a tab. */
export type FromHub = LiveMessage | { readonly kind: 'state'; readonly live: LiveState };

/** One end of the line between a tab and the hub. */
export interface Port {
  post(message: FromHub): void;
}
