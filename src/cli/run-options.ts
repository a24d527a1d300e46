import { extname } from "node:path";
import { CapstanError } from "../core/error.ts";
import type { Block } from "../core/event.ts";
import { ModelSettings } from "../core/event.ts";
import { fit } from "../core/issue.ts";
import type { StartRequest } from "../host/host.ts";
import { demand } from "../permissions/demand.ts";
import type { Grant } from "../permissions/grant.ts";
import { parseCount, parseDuration, parseMicroUsd } from "./amounts.ts";
import type { GrantFlags, Session } from "./command.ts";
import { readArgument } from "./read-argument.ts";

/** The options of `capstan run` and `capstan chat` that say how a model works. */
export interface ModelOptions extends GrantFlags {
  readonly model?: string;
  readonly agent?: string;
  /** `NAME=VALUE` each. */
  readonly var?: readonly string[];
  readonly conversation?: string;
  readonly continue?: true;
  readonly baseUrl?: string;
  readonly maxTurns?: string;
  readonly maxCost?: string;
  readonly timeout?: string;
  readonly temperature?: string;
  readonly maxTokens?: string;
  readonly reasoning?: string;
  /** Calls that the grant marks are approved without asking. */
  readonly yes?: boolean;
}

const imageTypes: Readonly<Record<string, string>> = {
  ".png": "image/png",
  ".jpg": "image/jpeg",
  ".jpeg": "image/jpeg",
  ".gif": "image/gif",
  ".webp": "image/webp",
};

/** Providers take pictures of a few megabytes; the log keeps each. */
const maxImageBytes = 5 * 1024 * 1024;

/** What the options say of a run. Throws `usage.bad_option`, and `permission.*` for an address that a token's holder may not reach. */
export function toRunRequest(
  session: Session,
  grant: Grant,
  options: ModelOptions,
): Omit<StartRequest, "task" | "grant" | "signal"> {
  const { model, agent, conversation, baseUrl, maxTurns, maxCost, timeout } = options;
  const { app, confined } = session;
  // What the operator names is trusted; the holder of a token is sent nowhere but where the token may go.
  if (confined && baseUrl !== undefined) demand(grant, [{ type: "net", url: baseUrl }], app.permissions.now());
  const settings = toSettings(options);
  return {
    // Only whoever began a conversation sees it, and the operator.
    isStarter: true,
    ...(model === undefined ? {} : { model }),
    ...(agent === undefined ? {} : { agent }),
    ...(options.var === undefined ? {} : { variables: Object.fromEntries(options.var.map(toVariable)) }),
    ...(conversation === undefined ? {} : { conversation }),
    ...(options.continue === undefined ? {} : { continue: options.continue }),
    ...(baseUrl === undefined ? {} : { baseUrl }),
    ...(settings === undefined ? {} : { settings }),
    limits: {
      ...(maxTurns === undefined ? {} : { turns: parseCount(maxTurns) }),
      ...(timeout === undefined ? {} : { timeMs: parseDuration(timeout) }),
      ...(maxCost === undefined ? {} : { costMicroUsd: parseMicroUsd(maxCost, "--max-cost") }),
    },
  };
}

function toVariable(text: string): readonly [string, string] {
  const place = text.indexOf("=");
  if (place > 0) return [text.slice(0, place), text.slice(place + 1)];
  throw new CapstanError("usage.bad_option", `--var takes NAME=VALUE, not ${JSON.stringify(text.slice(0, 80))}.`);
}

function toSettings({ temperature, maxTokens, reasoning }: ModelOptions): ModelSettings | undefined {
  const given = {
    ...(temperature === undefined ? {} : { temperature: temperature.trim() === "" ? Number.NaN : Number(temperature) }),
    ...(maxTokens === undefined ? {} : { maxOutputTokens: parseCount(maxTokens) }),
    ...(reasoning === undefined ? {} : { reasoning }),
  };
  if (Object.keys(given).length === 0) return undefined;
  const fitted = fit(ModelSettings, given, "settings");
  if ("data" in fitted) return fitted.data;
  const problems = fitted.problems.map(({ text }) => text).join("; ");
  throw new CapstanError("usage.bad_option", `--temperature, --max-tokens or --reasoning can't be used: ${problems}.`);
}

/** Pictures to go with the task. The operator names any; the holder of a token those that it may read. Throws `usage.bad_option`. */
export async function readImages(session: Session, grant: Grant, files: readonly string[]): Promise<readonly Block[]> {
  const read = async (file: string): Promise<Block> => {
    const mimeType = imageTypes[extname(file).toLowerCase()];
    if (mimeType === undefined) {
      throw new CapstanError(
        "usage.bad_option",
        `--image takes ${Object.keys(imageTypes).join(", ")} files, not ${file}.`,
      );
    }
    const bytes = await readArgument(session, grant, { option: "--image", file, maxBytes: maxImageBytes });
    return { type: "image", mimeType, data: bytes.toString("base64") };
  };
  return await Promise.all(files.map(read));
}
