import { CapstanError } from "../../../src/core/error.ts";
import { guardedFetch, refusalIn } from "../../../src/host/mcp/guarded-fetch.ts";
import type { SignInServices } from "../../../src/host/mcp/oauth/sign-in.ts";
import { openSignIn } from "../../../src/host/mcp/oauth/sign-in.ts";

/** A person whose browser follows every redirect and who always agrees. */
export const agreeing = async (url: string): Promise<void> => {
  await (await fetch(url)).text();
};

/** The sign-in of a user at a server on loopback; nobody is there unless `openBrowser` is given. */
export function openTestSignIn(given: Pick<SignInServices, "home" | "url"> & Partial<SignInServices>) {
  const services = { server: "remote", auth: undefined, isPrivate: true, user: "operator", env: {}, log: () => {} };
  return openSignIn({ fetch: guardedFetch(given.isPrivate ?? true), ...services, ...given });
}

/** The code of what a promise rejects with; its value where it does not. */
export async function endOf(promise: Promise<unknown>): Promise<unknown> {
  try {
    return await promise;
  } catch (thrown) {
    if (thrown instanceof CapstanError) return thrown.code;
    return refusalIn(thrown)?.code ?? thrown;
  }
}
