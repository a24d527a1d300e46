import { CapstanError } from "../core/error.ts";
import { mergeTaint, trusted } from "../core/taint.ts";
import { mayPrompt, mayRead, mayReadSome } from "../permissions/demand.ts";
import type { Grant } from "../permissions/grant.ts";
import { demandPlace } from "./admit.ts";
import type { DoorServices } from "./call.ts";
import type { PromptSource } from "./prompt.ts";
import { onRecord } from "./reading-record.ts";
import type { Reading, ReadingRequest } from "./reading.ts";
import type { CompletionRequest, ResourceSource, ResourceTemplate, SourceContext } from "./resource.ts";
import { fillTemplate } from "./uri-template.ts";

/** How many values a completion answers at most (MCP, utilities/completion). */
const maxValues = 100;

/** Opens the part of the door where resources and prompts are read. */
export function openReading(services: DoorServices): Reading {
  const { toolbox, permissions, onFault } = services;
  return {
    async listResources(request) {
      const { grant } = await live(request);
      return await ofEach(toolbox.resources, async (source) =>
        (await source.list(toContext(request))).filter(({ uri }) => ownerOf(uri) === source && mayRead(grant, uri)),
      );
    },

    async listTemplates(request) {
      await live(request);
      return await ofEach(toolbox.resources, (source) => templatesOf(source, request));
    },

    async readResource({ uri, ...request }) {
      return await onRecord(services, { action: "resources/read", name: uri, request }, async (letIn) => {
        const source = await demandSource(uri, request);
        await letIn();
        const outcome = await source.read(uri, toContext(request));
        if (outcome === null) throw unknownResource(uri);
        return { outcome, taint: outcome.taint ?? trusted };
      });
    },

    async subscribe({ uri, ...request }, onUpdate) {
      const asked = { action: "resources/subscribe", name: uri, request } as const;
      const source = await onRecord(services, asked, () => demandSource(uri, request));
      return await whileAlive(request.caller.grant, onUpdate, (onChange) =>
        source.subscribe?.(uri, toContext(request), onChange),
      );
    },

    async listPrompts(request) {
      const { grant } = await live(request);
      const prompts = await ofEach(toolbox.prompts, (source) => source.list(toContext(request)));
      const names = new Set<string>();
      return prompts.filter(({ name }) => mayPrompt(grant, name) && !names.has(name) && names.add(name));
    },

    async getPrompt({ name, args, ...request }) {
      return await onRecord(services, { action: "prompts/get", name, request }, async (letIn) => {
        const source = await demandPrompt(name, request);
        await letIn();
        const outcome = await source.get(name, args, toContext(request));
        return { outcome, taint: outcome.taint ?? trusted };
      });
    },

    async complete({ of, completion, ...request }) {
      const name = "prompt" in of ? of.prompt : of.uriTemplate;
      return await onRecord(services, { action: "completion/complete", name, request }, async (letIn) => {
        const suggest =
          "prompt" in of ? await forPrompt(of.prompt, request) : await forTemplate(of.uriTemplate, request);
        await letIn();
        return (await suggest(completion)).slice(0, maxValues);
      });
    },
  };

  async function live({ caller }: ReadingRequest): Promise<ReadingRequest["caller"]> {
    await permissions.refresh();
    permissions.demandLive(caller.grant);
    demandPlace(caller);
    return caller;
  }

  /** Of two sources with a URI, or a template, the first is its owner. */
  function ownerOf(uri: string): ResourceSource | undefined {
    return toolbox.resources.find((source) => source.owns(uri));
  }

  /** The source to ask. Throws `resource.unknown` where the grant does not allow the resource or nobody has it. */
  async function demandSource(uri: string, request: ReadingRequest): Promise<ResourceSource> {
    const { grant } = await live(request);
    const source = ownerOf(uri);
    if (source === undefined || !mayRead(grant, uri)) throw unknownResource(uri);
    return source;
  }

  /** The templates of a source by which the grant may read something. */
  async function templatesOf(source: ResourceSource, request: ReadingRequest): Promise<readonly ResourceTemplate[]> {
    const { grant } = request.caller;
    const templates = await source.templates(toContext(request));
    return templates.filter(
      ({ uriTemplate }) => ownerOf(uriTemplate) === source && mayReadFilled(grant, uriTemplate, {}),
    );
  }

  /** The source of a prompt. Throws `prompt.unknown` where the grant does not allow it or nobody lists it. */
  async function demandPrompt(name: string, request: ReadingRequest): Promise<PromptSource> {
    const { grant } = await live(request);
    for (const source of mayPrompt(grant, name) ? toolbox.prompts : []) {
      if (source.mayHave?.(name) === false) continue;
      const prompts = await ofEach([source], () => source.list(toContext(request)));
      if (prompts.some((prompt) => prompt.name === name)) return source;
    }
    throw new CapstanError(
      "prompt.unknown",
      `No prompt is called ${quoted(name)} here. List the prompts to see which are.`,
    );
  }

  async function forPrompt(name: string, request: ReadingRequest): Promise<Suggest> {
    const source = await demandPrompt(name, request);
    return async (completion) => (await source.complete?.(name, completion, toContext(request))) ?? [];
  }

  /** Suggests only what leads to resources that the grant may allow. */
  async function forTemplate(uriTemplate: string, request: ReadingRequest): Promise<Suggest> {
    const { grant } = await live(request);
    const source = ownerOf(uriTemplate);
    const templates = source === undefined ? [] : await ofEach([source], () => templatesOf(source, request));
    if (source === undefined || !templates.some((template) => template.uriTemplate === uriTemplate)) {
      throw unknownResource(uriTemplate);
    }
    return async (completion) => {
      const { argument, filled } = completion;
      if (!mayReadFilled(grant, uriTemplate, filled)) return [];
      const values = (await source.complete?.(uriTemplate, completion, toContext(request))) ?? [];
      return values.filter((value) => mayReadFilled(grant, uriTemplate, { ...filled, [argument.name]: value }));
    };
  }

  /** Follows a resource until it is disposed; the first change after the end of the grant ends it too, untold. */
  async function whileAlive(
    grant: Grant,
    onUpdate: () => void,
    follow: (onChange: () => void) => Promise<AsyncDisposable> | undefined,
  ): Promise<AsyncDisposable> {
    const following = new AsyncDisposableStack();
    const opened = await follow(() => {
      if (following.disposed) return;
      try {
        permissions.demandLive(grant);
      } catch {
        following.disposeAsync().catch(onFault);
        return;
      }
      onUpdate();
    });
    // It may have ended while it was being opened.
    if (following.disposed) await opened?.[Symbol.asyncDispose]();
    else following.use(opened);
    return following;
  }

  /** What all sources have; one that fails takes only its own away. */
  async function ofEach<S, T>(
    sources: readonly S[],
    list: (source: S) => Promise<readonly T[]>,
  ): Promise<readonly T[]> {
    const settled = await Promise.allSettled(sources.map(list));
    return settled.flatMap((result) => {
      if (result.status === "fulfilled") return result.value;
      onFault(result.reason);
      return [];
    });
  }
}

type Suggest = (completion: CompletionRequest) => Promise<readonly string[]>;

/** Whether the grant may allow some resource of a template with these variables filled in. */
function mayReadFilled(grant: Grant, uriTemplate: string, filled: Readonly<Record<string, string>>): boolean {
  const { start, isWhole } = fillTemplate(uriTemplate, filled);
  return isWhole ? mayRead(grant, start) : mayReadSome(grant, start);
}

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

/** The one answer for a resource that does not exist, one of another principal and one that the grant does not allow. */
function unknownResource(uri: string): CapstanError {
  return new CapstanError(
    "resource.unknown",
    `There is no resource ${quoted(uri)} here. List the resources to see which are.`,
  );
}

const quoted = (text: string): string => JSON.stringify(text.length > 256 ? `${text.slice(0, 256)}…` : text);
