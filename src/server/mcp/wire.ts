import { isUtf8 } from "node:buffer";
import type { Readable, Writable } from "node:stream";
import { finished } from "node:stream/promises";
import {
  isJSONRPCNotification,
  isJSONRPCRequest,
  isJSONRPCResponse,
  type JSONRPCMessage,
  ProtocolErrorCode,
  type RequestId,
  type Transport,
} from "@modelcontextprotocol/server";
import { toCapstanError, toText } from "../../core/error.ts";
import { type Line, openLineCutter } from "../../core/lines.ts";
import { expectedParams, isMeantAsAnswer, maxMessageBytes, readId, readLongId } from "./message.ts";
import { parseStrictJson } from "./strict-json.ts";

/** As long as this many requests, or requests of this many bytes, are unanswered, no more input is read. */
const maxOpen = 1024;
const maxOpenBytes = 64 * 1024 * 1024;
/** How long requests that were read before the end of input may still take. */
const drainMs = 1_000;

export interface Wire extends Transport {
  /** Settles when nothing comes in or goes out any more; never rejects. */
  readonly closed: Promise<void>;
}

/**
 * The stdio transport: JSON-RPC messages as lines on two streams (MCP 2025-11-25 and 2026-07-28, transports/stdio). Whatever a peer
 * sends, the connection lives on: a line that is no message is answered with a JSON-RPC error. Memory is bounded, by not reading on
 * while too much is unanswered or the peer does not read. Closes at the end of input (once what was read is answered, or after a
 * second), when the output breaks, and when `signal` aborts.
 */
export function openWire(streams: {
  readonly input: Readable;
  readonly output: Writable;
  readonly signal: AbortSignal;
}): Wire {
  const { input, output, signal } = streams;
  const open = new Map<RequestId, number>();
  const listening = new Set<RequestId>();
  const closing = new AbortController();
  const ended = Promise.withResolvers<void>();
  let openBytes = 0;
  let unwritten: { text: string; readonly written: PromiseWithResolvers<void> } | undefined;
  let wake = (): void => {};

  const wire: Wire = { start, send, close, closed: ended.promise };
  return wire;

  async function start(): Promise<void> {
    output.on("error", onBroken);
    signal.addEventListener("abort", onBroken, { once: true });
    void read()
      .catch(() => {}) // A broken input is the end of input.
      .then(drain)
      .then(close);
    if (signal.aborted) await close();
  }

  /** Resolves at the end of input. Node's own iterator over a stream would do the same at several times the cost. */
  async function read(): Promise<void> {
    const cut = openLineCutter(maxMessageBytes);
    input.on("data", (chunk: Buffer | string) => {
      const bytes = typeof chunk === "string" ? Buffer.from(chunk) : chunk;
      for (const line of cut(bytes)) receive(Buffer.isBuffer(line) ? withoutReturn(line) : line);
      if (isFull()) input.pause();
    });
    await finished(input, { writable: false });
  }

  function receive(line: Line): void {
    if (!Buffer.isBuffer(line)) {
      const id = readLongId(line);
      return fault(
        id === null || isOpen(id) ? null : id,
        ProtocolErrorCode.InvalidRequest,
        `A message is a line of at most ${maxMessageBytes} bytes.`,
      );
    }
    if (line.length === 0) return;
    let value: unknown;
    try {
      if (!isUtf8(line)) throw new SyntaxError("not UTF-8");
      value = parseStrictJson(line.toString("utf8"));
    } catch (error) {
      if (!(error instanceof SyntaxError)) {
        return fault(null, ProtocolErrorCode.InvalidRequest, toText(toCapstanError(error)));
      }
      return fault(null, ProtocolErrorCode.ParseError, "The line is no JSON. Send one message a line, in UTF-8.");
    }
    deliver(value, line.length);
  }

  function deliver(value: unknown, bytes: number): void {
    if (isJSONRPCRequest(value)) {
      if (isOpen(value.id)) {
        return fault(
          null,
          ProtocolErrorCode.InvalidRequest,
          "A request with this id is still unanswered. Use a new id.",
        );
      }
      const expected = expectedParams(value);
      if (expected !== null) {
        const message = `The params of ${value.method} must be ${expected}.`;
        return fault(value.id, ProtocolErrorCode.InvalidParams, message);
      }
      // A subscription is answered when it ends; nothing waits for that.
      if (value.method === "subscriptions/listen") listening.add(value.id);
      else {
        open.set(value.id, bytes);
        openBytes += bytes;
      }
      return wire.onmessage?.(value);
    }
    if (isJSONRPCNotification(value)) {
      // A cancelled request gets no answer, so it is settled here.
      if (value.method === "notifications/cancelled") settle(value.params?.["requestId"]);
      return wire.onmessage?.(value);
    }
    if (isJSONRPCResponse(value)) return wire.onmessage?.(value);
    if (isMeantAsAnswer(value)) return;
    const what = Array.isArray(value) ? "Batches are no part of MCP" : "The line is no JSON-RPC 2.0 message of MCP";
    fault(
      readId(value),
      ProtocolErrorCode.InvalidRequest,
      `${what}: send {"jsonrpc":"2.0","id":…,"method":…,"params":{…}}.`,
    );
  }

  function isOpen(id: RequestId): boolean {
    return open.has(id) || listening.has(id);
  }

  /** JSON-RPC 2.0, section 5: the id is null where it could not be read. */
  function fault(id: RequestId | null, code: number, message: string): void {
    void write({ jsonrpc: "2.0", id, error: { code, message } });
  }

  async function send(message: JSONRPCMessage): Promise<void> {
    if (!("method" in message)) settle(message.id);
    await write(message);
  }

  function settle(id: unknown): void {
    if (typeof id !== "string" && typeof id !== "number") return;
    listening.delete(id);
    openBytes -= open.get(id) ?? 0;
    if (open.delete(id)) goOn();
  }

  /** Resolves when the line is written, or can't be any more: a peer that is gone is no error of the one who answers it. */
  function write(message: object): Promise<void> {
    if (closing.signal.aborted) return Promise.resolve();
    if (unwritten === undefined) {
      unwritten = { text: "", written: Promise.withResolvers() };
      process.nextTick(flush);
    }
    unwritten.text += `${JSON.stringify(message)}\n`;
    return unwritten.written.promise;
  }

  /** What is answered in one turn leaves at once. */
  function flush(): void {
    const lines = unwritten;
    unwritten = undefined;
    output.write(lines?.text ?? "", () => {
      lines?.written.resolve();
      goOn();
    });
  }

  function isFull(): boolean {
    if (closing.signal.aborted) return false;
    const isUnread = output.writableNeedDrain || (unwritten?.text.length ?? 0) > output.writableHighWaterMark;
    return open.size >= maxOpen || openBytes >= maxOpenBytes || isUnread;
  }

  /** Something was answered or written. */
  function goOn(): void {
    if (input.isPaused() && !isFull()) input.resume();
    wake();
  }

  async function drain(): Promise<void> {
    const timer = setTimeout(onBroken, drainMs);
    const isDone = (): boolean => open.size === 0 && unwritten === undefined && output.writableLength === 0;
    while (!closing.signal.aborted && !isDone()) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
    clearTimeout(timer);
  }

  async function close(): Promise<void> {
    if (closing.signal.aborted) return;
    closing.abort();
    signal.removeEventListener("abort", onBroken); // That of the output's errors stays: a late one must not end the process.
    input.destroy();
    wake();
    wire.onclose?.();
    ended.resolve();
  }

  function onBroken(): void {
    void close();
  }
}

const withoutReturn = (line: Buffer): Buffer => (line.at(-1) === 0x0d ? line.subarray(0, -1) : line);
