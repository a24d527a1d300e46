import { setTimeout as sleep } from "node:timers/promises";
import type Dockerode from "dockerode";
import { z } from "zod";

/** How often, and how long after one another. */
const maxTries = 5;
const delayMs = 100;

const Failure = z.object({ statusCode: z.int() });

/**
 * Removes a container, running or not; never rejects. podman fails where a container ends at the very moment at which it is to be killed,
 * so a daemon that answers something else than that there is none is asked again.
 */
export async function remove(container: Dockerode.Container): Promise<void> {
  for (let tries = 1; tries <= maxTries; tries += 1) {
    try {
      return void (await container.remove({ force: true, v: true }));
    } catch (thrown) {
      const { success, data } = Failure.safeParse(thrown);
      if (!success || data.statusCode === 404) return;
      await sleep(delayMs);
    }
  }
}
