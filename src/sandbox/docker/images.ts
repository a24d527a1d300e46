import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import { z } from "zod";
import { CapstanError } from "../../core/error.ts";
import { explain, openDocker, maxSilenceMs } from "./daemon.ts";

const label = "dev.capstan.image";

/** An image that `buildImage` made. */
export interface BuiltImage {
  readonly id: string;
  /** Its names; none: a later one took them. */
  readonly names: readonly string[];
  readonly builtAt: Date;
  readonly bytes: number;
}

// One line of what a daemon tells while it builds.
const Progress = z.object({
  stream: z.string().optional(),
  status: z.string().optional(),
  error: z.string().optional(),
});

/**
 * Builds the image `image` from the Dockerfile and the files in `folder`, and answers its id. `tell` gets the daemon's lines. Aborting
 * ends the build. Throws `sandbox.unavailable`.
 */
export async function buildImage(
  options: { readonly socket: string; readonly image: string; readonly folder: string },
  tell: (line: string) => void,
  signal: AbortSignal,
): Promise<string> {
  const { socket, image, folder } = options;
  const fail = (reason: string, cause?: unknown) =>
    new CapstanError("sandbox.unavailable", `The image ${image} was not built. ${reason}`, { cause });
  const docker = await openDocker(socket);
  try {
    const context = { context: folder, src: ["."] };
    const labels = { [label]: "" };
    const said = await docker.buildImage(context, { t: image, labels, rm: true, forcerm: true, abortSignal: signal });
    for await (const line of createInterface({ input: Readable.from(said) })) {
      const { stream, status, error } = Progress.parse(JSON.parse(line));
      if (error !== undefined) throw fail(`${error.trim()}.`);
      const text = (stream ?? status ?? "").trim();
      if (text !== "") tell(text);
    }
    return (await docker.getImage(image).inspect()).Id;
  } catch (thrown) {
    signal.throwIfAborted();
    if (thrown instanceof CapstanError) throw thrown;
    const { reason, remedy } = explain(thrown, socket, image);
    throw fail(`${reason} ${remedy}`, thrown);
  }
}

/** The images that `buildImage` made on a daemon, the newest first. Throws `sandbox.unavailable`. */
export async function listImages(socket: string): Promise<readonly BuiltImage[]> {
  const docker = await openDocker(socket, { silentMs: maxSilenceMs });
  const images = await docker.listImages({ filters: { label: [label] } }).catch((thrown: unknown) => {
    const { reason, remedy } = explain(thrown, socket, "");
    throw new CapstanError("sandbox.unavailable", `${reason} ${remedy}`, { cause: thrown });
  });
  return images
    .map(({ Id, RepoTags, Created, Size }) => ({
      id: Id,
      names: (RepoTags ?? []).filter((name) => name !== "<none>:<none>"),
      builtAt: new Date(Created * 1_000),
      bytes: Size,
    }))
    .toSorted((a, b) => b.builtAt.getTime() - a.builtAt.getTime());
}
