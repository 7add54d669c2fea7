import type { Connect } from './hub';
import { readStream } from './sse';

/** Connects to the server's stream of topics. */
export const connect: Connect = (topics, lastEventId, sink, signal) =>
  readStream(`/v1/stream?topics=${encodeURIComponent(topics.join(','))}`, lastEventId, sink, signal);
