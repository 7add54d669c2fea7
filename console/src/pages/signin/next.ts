/** Where to go after signing in: a path of this console, never another site ("//evil", "https:…", "/\evil"). */
export function safeNext(next: string | undefined): string {
  if (!next || !/^\/(?![/\\])/.test(next)) return '/';
  const url = new URL(next, 'https://console.invalid');
  return url.origin === 'https://console.invalid' && url.pathname !== '/sign-in' ? url.pathname + url.search + url.hash : '/';
}
