import { CompileFlags } from "quickjs-wasi";
import type { JSValueHandle, QuickJS } from "quickjs-wasi";
import type { ExecStatus } from "../engine.ts";
import { guestJson } from "../guest/guest-json.ts";
import { guest } from "./guest.ts";
import type { GuestApi } from "./guest.ts";
import type { AnswerMessage } from "./protocol.ts";
import { toText } from "./world.ts";

/** Held back from the guest and given back at its end, so that one that has no memory left can still say so. */
const ballastBytes = new Uint8Array(64 * 1024);
const maxErrorLength = 16_000;
/** A line of a trace that stands for our own code in the guest. */
const ownFrame = /^ {4}at .*\(<null>:0:1\)\n?/gm;

const source = `"use strict"; (host) => (${guest.toString()})(host, (${guestJson.toString()})())`;

export interface Failure {
  readonly status: ExecStatus;
  readonly error: string;
}

/** The guest's own functions, GuestApi, for the worker. They throw only where the interpreter has no room to run them. */
export interface Api {
  /** Readies the guest for another run of the same session. Throws where it has no room for one. */
  readonly begin: () => void;
  /** Notes on what JSON could not hold; undefined: the result is too large. */
  readonly finish: (value: JSValueHandle) => string | undefined;
  readonly settle: (answer: AnswerMessage) => void;
  /** Runs a timer's callback; gives how it failed, if it did. */
  readonly fire: (id: number) => Failure | undefined;
  /** What the guest threw: status `memory` when it had no memory left, else `error`. */
  readonly toFailure: (thrown: JSValueHandle) => Failure;
}

/** Evaluates our part of the guest's world in a new interpreter, before any code of the guest; gives its one function. */
export type Prelude = (vm: QuickJS) => JSValueHandle;

/** A prelude that is compiled once and is bytecode from then on, which saves more than a millisecond in each run. */
export function openPrelude(): Prelude {
  let bytecode: Uint8Array | undefined;
  return (vm) => {
    bytecode ??= vm.compile(source, "capstan", 0, CompileFlags.STRIP_SOURCE | CompileFlags.STRIP_DEBUG);
    return vm.evalBytecode(bytecode);
  };
}

/** Sets up the guest's world. `isFull` says whether its memory is all but used up. */
export function openApi(vm: QuickJS, prelude: Prelude, host: JSValueHandle, isFull: () => boolean): Api {
  let ballast = vm.newArrayBuffer(ballastBytes);
  const api = vm.callFunction(prelude(vm), vm.undefined, host);
  const toCaller = (name: keyof GuestApi) => {
    const found = api.getProp(name);
    return (...args: readonly JSValueHandle[]): string | undefined => {
      using answer = vm.callFunction(found, vm.undefined, ...args);
      return answer.isUndefined ? undefined : toText(answer);
    };
  };
  const [begin, finish, describe, settle, fire] = [
    toCaller("begin"),
    toCaller("finish"),
    toCaller("describe"),
    toCaller("settle"),
    toCaller("fire"),
  ];
  const toFailed = (trace: string, isEmpty = false): Failure => {
    const text = trace.replaceAll(ownFrame, "").trimEnd();
    const isMemory = text.startsWith("InternalError: out of memory") || (isEmpty && isFull());
    return { status: isMemory ? "memory" : "error", error: text.slice(0, maxErrorLength) };
  };

  return {
    begin() {
      ballast.dispose();
      ballast = vm.newArrayBuffer(ballastBytes);
      begin();
    },
    finish(value) {
      ballast.dispose();
      return finish(value);
    },
    settle({ id, ok, text }) {
      using number = vm.newNumber(id);
      using content = vm.newString(text);
      settle(number, ok ? vm.true : vm.false, content);
    },
    fire(id) {
      using number = vm.newNumber(id);
      const thrown = fire(number);
      return thrown === undefined ? undefined : toFailed(thrown);
    },
    toFailure(thrown) {
      ballast.dispose();
      // Where there is not even room for the error, the interpreter throws null.
      return toFailed(describe(thrown) ?? "", thrown.isNull);
    },
  };
}
