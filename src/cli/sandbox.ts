import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { CapstanError } from "../core/error.ts";
import { buildImage, listImages } from "../sandbox/docker/images.ts";
import type { ExitCode, Session } from "./command.ts";
import { toJsonText } from "./json.ts";

/** The folder of the Dockerfile that comes with Capstan; it lies at the same place beside the source and beside what is built. */
const ownFolder = join(import.meta.dirname, "../../bin/sandbox");

/** `capstan sandbox build`: makes the image that the config names; prints its id. */
export async function buildSandbox(session: Session, folder: string | undefined): Promise<ExitCode> {
  session.demandOperator();
  const { app, signal, print, tell } = session;
  const from = folder === undefined ? ownFolder : resolve(folder);
  if (!existsSync(join(from, "Dockerfile"))) {
    throw new CapstanError("usage.bad_option", `There is no Dockerfile in ${from}. Name the folder of one.`);
  }
  const { socket, image } = app.config.sandbox.docker;
  tell(`Building ${image} from ${from}.`);
  print(await buildImage({ socket, image, folder: from }, tell, signal));
  return 0;
}

/** `capstan sandbox ls`: the images that `sandbox build` made. */
export async function listSandboxes(session: Session, options: { json?: boolean }): Promise<ExitCode> {
  session.demandOperator();
  const { app, print, tell } = session;
  const { socket, image } = app.config.sandbox.docker;
  const images = await listImages(socket);
  if (options.json === true) print(toJsonText(images));
  else
    for (const { id, names, builtAt, bytes } of images) {
      print(`${id.slice(0, 19)}  ${builtAt.toISOString()}  ${Math.round(bytes / 1e6)} MB  ${names.join(", ")}`);
    }
  if (images.length === 0) tell(`There are none yet. \`${session.commandLine("sandbox build")}\` makes ${image}.`);
  return 0;
}
