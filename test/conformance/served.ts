import { openFixture } from "./fixture.ts";
import { openProxy } from "./proxy.ts";

/** A server that the conformance suite can reach without a token. */
export interface Served extends AsyncDisposable {
  readonly url: string;
}

/** Serves the fixture behind a proxy that adds the token. `isOld`: as a server that never heard of revision 2026-07-28. */
export async function openServed({ isOld }: { readonly isOld: boolean }): Promise<Served> {
  await using opened = new AsyncDisposableStack();
  const proxy = opened.use(await openProxy({ isOld }));
  const fixture = opened.use(await openFixture({ hosts: [proxy.host], origins: [`http://${proxy.host}`] }));
  proxy.target(fixture.url, fixture.token);
  const owned = opened.move();
  return { url: `http://${proxy.host}/mcp`, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}
