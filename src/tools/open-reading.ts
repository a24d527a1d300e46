import type { ErrorCode } from "../core/error.ts";
import { CapstanError, toCapstanError } from "../core/error.ts";
import { mergeTaint, trusted } from "../core/taint.ts";
import { mayRead } from "../permissions/demand.ts";
import { toCharge } from "../permissions/ledger.ts";
import type { AuditEntry } from "../store/store.ts";
import { demandPlace } from "./admit.ts";
import type { DoorServices } from "./call.ts";
import type { Reading, ReadingRequest } from "./reading.ts";
import type { ResourceSource, SourceContext } from "./resource.ts";

/** How many values a completion answers at most (MCP, utilities/completion). */
const maxValues = 100;

/** Opens the part of the door where resources and prompts are read. */
export function openReading({ toolbox, store, permissions, onFault }: DoorServices): Reading {
  return {
    async listResources(request) {
      const { grant } = await live(request);
      const lists = await ofEach(toolbox.resources, (source) => source.list(toContext(request)));
      return lists.flat().filter(({ uri }) => mayRead(grant, uri));
    },

    async listTemplates(request) {
      await live(request);
      return (await ofEach(toolbox.resources, (source) => source.templates(toContext(request)))).flat();
    },

    async readResource({ uri, ...request }) {
      return await onRecord("resources/read", uri, request, async () => {
        const source = await findSource(uri, request);
        const outcome = await source.read(uri, toContext(request));
        if (outcome === null) throw unknownResource(uri);
        return { outcome, taint: outcome.type === "done" ? (outcome.taint ?? trusted) : trusted };
      });
    },

    async subscribe({ uri, ...request }, onUpdate) {
      return await onRecord("resources/subscribe", uri, request, async () => {
        const source = await findSource(uri, request);
        const { grant } = request.caller;
        const stillAllowed = (): void => {
          try {
            permissions.demandLive(grant);
          } catch {
            return; // A grant that ended learns nothing any more.
          }
          onUpdate();
        };
        return (
          (await source.subscribe?.(uri, toContext(request), stillAllowed)) ?? { [Symbol.asyncDispose]: async () => {} }
        );
      });
    },

    async listPrompts(request) {
      const { grant } = await live(request);
      const lists = await ofEach(toolbox.prompts, (source) => source.list(toContext(request)));
      return lists.flat().filter(({ name }) => grant.rights.prompts.includes(name));
    },

    async getPrompt({ name, args, ...request }) {
      return await onRecord("prompts/get", name, request, async () => {
        const source = await findPrompt(name, request);
        const outcome = await source.get(name, args, toContext(request));
        return { outcome, taint: outcome.type === "done" ? (outcome.taint ?? trusted) : trusted };
      });
    },

    async complete({ of, completion, ...request }) {
      const name = "prompt" in of ? of.prompt : of.uriTemplate;
      return await onRecord("completion/complete", name, request, async () => {
        const values = await suggest(of, completion, request);
        return values.slice(0, maxValues);
      });
    },
  };

  async function suggest(
    of: Parameters<Reading["complete"]>[0]["of"],
    completion: Parameters<Reading["complete"]>[0]["completion"],
    request: ReadingRequest,
  ): Promise<readonly string[]> {
    const context = toContext(request);
    if ("prompt" in of) {
      const source = await findPrompt(of.prompt, request);
      return (await source.complete?.(of.prompt, completion, context)) ?? [];
    }
    for (const source of toolbox.resources.filter((one) => one.owns(of.uriTemplate))) {
      const templates = await source.templates(context);
      if (templates.some(({ uriTemplate }) => uriTemplate === of.uriTemplate)) {
        return (await source.complete?.(of.uriTemplate, completion, context)) ?? [];
      }
    }
    throw unknownResource(of.uriTemplate);
  }

  async function findSource(uri: string, { caller }: ReadingRequest): Promise<ResourceSource> {
    const source = toolbox.resources.find((one) => one.owns(uri));
    if (source === undefined || !mayRead(caller.grant, uri)) throw unknownResource(uri);
    return source;
  }

  async function findPrompt(name: string, request: ReadingRequest): Promise<(typeof toolbox.prompts)[number]> {
    if (request.caller.grant.rights.prompts.includes(name)) {
      for (const source of toolbox.prompts) {
        const prompts = await source.list(toContext(request));
        if (prompts.some((prompt) => prompt.name === name)) return source;
      }
    }
    throw new CapstanError(
      "prompt.unknown",
      `No prompt is called ${quoted(name)} here. List the prompts to see which are.`,
    );
  }

  async function live({ caller }: ReadingRequest): Promise<ReadingRequest["caller"]> {
    await permissions.refresh();
    permissions.demandLive(caller.grant);
    demandPlace(caller);
    return caller;
  }

  /** Decides, charges and audits as the door does for a tool call: the row stands before anything is answered. */
  async function onRecord<T>(
    action: Action,
    name: string,
    request: ReadingRequest,
    read: () => Promise<T>,
  ): Promise<T> {
    const { caller, callId } = request;
    const now = permissions.now();
    const entry = toEntry(action, name, request, now);
    try {
      await live(request);
      const charges =
        action === "resources/read" || action === "prompts/get"
          ? [toCharge(caller.grant, callId, { calls: 1 }, now)]
          : [];
      await store.commit({ scope: caller.scope, charges, audit: [entry] });
      return await read();
    } catch (thrown) {
      const refusal = toCapstanError(thrown);
      if (refusal.code === "core.internal") onFault(thrown);
      await store.commit({
        scope: caller.scope,
        audit: [{ ...entry, decision: "deny", reason: refusal.code satisfies ErrorCode }],
      });
      throw refusal;
    }
  }

  /** What each source has; one that fails takes only its own away. */
  async function ofEach<S, T>(sources: readonly S[], list: (source: S) => Promise<T>): Promise<readonly T[]> {
    const settled = await Promise.allSettled(sources.map(list));
    return settled.flatMap((result) => {
      if (result.status === "fulfilled") return [result.value];
      onFault(result.reason);
      return [];
    });
  }
}

type Action = "resources/read" | "resources/subscribe" | "prompts/get" | "completion/complete";

function toContext({ caller, callId, signal, progress, log, answerer, resumed }: ReadingRequest): SourceContext {
  const { scope, principal, grant, taint } = caller;
  return {
    signal,
    callId,
    scope,
    principal,
    grant,
    taint: mergeTaint(taint),
    progress: progress ?? (() => {}),
    log: log ?? (() => {}),
    ...(answerer === undefined ? {} : { answerer }),
    ...(resumed === undefined ? {} : { resumed }),
  };
}

function toEntry(action: Action, name: string, { caller, callId }: ReadingRequest, at: number): AuditEntry {
  const { scope, principal, grant, runId, taint } = caller;
  return {
    at,
    scope,
    user: principal.user,
    grantId: grant.id,
    ancestors: grant.ancestors.map(({ id }) => id),
    ...(runId === undefined ? {} : { runId }),
    callId,
    action,
    name: name.slice(0, 128),
    taint,
    decision: "allow",
  };
}

/** The one answer for a resource that does not exist, one of another principal and one that the grant does not allow. */
function unknownResource(uri: string): CapstanError {
  return new CapstanError(
    "resource.unknown",
    `There is no resource ${quoted(uri)} here. List the resources to see which are.`,
  );
}

const quoted = (text: string): string => JSON.stringify(text.length > 256 ? `${text.slice(0, 256)}…` : text);
