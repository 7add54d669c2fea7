/** A path of this console that the server names. Anything else leads to the overview: never to another site. */
export function localPath(link: string): string {
  return /^\/(?![/\\])/.test(link) ? link : '/';
}
