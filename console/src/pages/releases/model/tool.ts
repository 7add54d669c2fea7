/** Whether a text names a tool of a server: "SERVER/TOOL". */
export const isTool = (text: string): boolean => /^[^/\s][^/]*\/\S.*$/.test(text);

/** Whether a text is a digest as refusals write it. */
export const isDigest = (text: string): boolean => /^sha256:[0-9a-f]{64}$/.test(text);
