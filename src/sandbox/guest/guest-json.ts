/** How the writing of a value ended. `notes` says what JSON could not hold; empty: nothing. */
export interface Written {
  readonly tooLarge: boolean;
  readonly notes: string;
}

/** Writes a value as JSON in pieces to `emit`, which says whether it takes more. `room` is how many characters there may be. */
export type Write = (root: unknown, emit: (piece: string) => boolean, room: number) => Written;

/** A value on the way from the root to the one being written, for paths in notes and to see cycles. `key` is null at the root. */
interface Step {
  readonly value: unknown;
  readonly key: string | number | null;
  readonly up: Step | null;
}

type Getter = (this: unknown) => unknown;

/**
 * Makes the writer of JSON that runs inside the guest. Its source text is evaluated there, so it must not refer to anything outside
 * itself, and it runs before the guest's code: every function that it uses is taken now, and nothing is looked up on an object or a
 * prototype that the guest could have changed since. For the same reason there are no spreads, no iteration, no array methods and no
 * template literals, which QuickJS joins by a `concat` that it looks up.
 * What JSON can't hold is replaced, and the first place of each kind is noted.
 */
export function guestJson(): Write {
  const { apply, construct, get, getPrototypeOf, getOwnPropertyDescriptor } = Reflect;
  const { create, is, keys, prototype: objectPrototype } = Object;
  const { stringify } = JSON;
  const Bytes = Uint8Array;
  const isArray = get(Array, "isArray");
  const isError: (value: unknown) => boolean = get(Error, "isError");
  const isView = get(ArrayBuffer, "isView");
  const slice = get(String.prototype, "slice");
  const mapForEach = get(Map.prototype, "forEach");
  const setForEach = get(Set.prototype, "forEach");
  const getTime = get(Date.prototype, "getTime");
  const toISOString = get(Date.prototype, "toISOString");
  const promisePrototype = Promise.prototype;
  const getter = (prototype: object | null, name: string): Getter => {
    const found = get(getOwnPropertyDescriptor(prototype ?? {}, name) ?? {}, "get");
    if (found === undefined) throw new TypeError("The interpreter has no getter " + name);
    return found;
  };
  const mapSize = getter(Map.prototype, "size");
  const setSize = getter(Set.prototype, "size");
  const source = getter(RegExp.prototype, "source");
  const description = getter(Symbol.prototype, "description");
  const bufferLength = getter(ArrayBuffer.prototype, "byteLength");
  const viewLength = getter(getPrototypeOf(Bytes.prototype), "length");

  const maxDepth = 100;
  const pieceLength = 4096;
  const tooLarge: unknown = create(null);
  const failed = Symbol("failed");

  /** Runs what may run the guest's code (a getter, a trap, a method): its value, or `failed`. */
  const attempt = <T>(read: () => T): T | typeof failed => {
    try {
      return read();
    } catch {
      return failed;
    }
  };
  /** Whether a function of a built-in's prototype accepts the value: only a real instance of that built-in passes. */
  const accepts = (method: Getter, value: object): boolean => attempt(() => apply(method, value, [])) !== failed;

  function toPath(at: Step): string {
    let text = "";
    let step: Step | null = at;
    while (step !== null && text.length < 200) {
      const { key }: Step = step;
      if (key !== null) text = (typeof key === "number" ? "[" + key + "]" : "." + apply(slice, key, [0, 40])) + text;
      step = step.up;
    }
    return (step === null ? "$" : "$…") + text;
  }

  return function write(root, emit, room) {
    let pending = "";
    let notes = "";
    const noted: Record<string, boolean> = create(null);

    const put = (piece: string): void => {
      room -= piece.length;
      if (room < 0) throw tooLarge;
      pending += piece;
      if (pending.length >= pieceLength) flush();
    };
    const flush = (): void => {
      const piece = pending;
      pending = "";
      if (piece !== "" && !emit(piece)) throw tooLarge;
    };
    const putText = (text: string): void => {
      if (text.length > room) throw tooLarge;
      put(stringify(text));
    };
    const note = (what: string, at: Step): void => {
      if (noted[what] === true) return;
      noted[what] = true;
      notes += (notes === "" ? "" : "; ") + toPath(at) + ": " + what;
    };
    const putNull = (what: string, at: Step): void => {
      note(what + " became null", at);
      put("null");
    };

    function putValue(value: unknown, at: Step, depth: number): void {
      switch (typeof value) {
        case "string":
          return putText(value);
        case "boolean":
          return put(value ? "true" : "false");
        case "number":
          if (is(value, -0)) note("-0 became 0", at);
          return value - value === 0 ? put("" + value) : putNull("" + value, at);
        case "bigint":
          note("a BigInt became text", at);
          return putText("" + value);
        case "symbol": {
          note("a symbol became text", at);
          const text = apply(description, value, []);
          return putText(typeof text === "string" ? text : "");
        }
        case "undefined":
          return at.up === null ? put("null") : putNull("undefined", at);
        case "function":
          return putNull("a function", at);
        case "object":
          return value === null ? put("null") : putObject(value, at, depth);
      }
    }

    function putObject(value: object, at: Step, depth: number): void {
      for (let step = at.up; step !== null; step = step.up) {
        if (step.value === value) return putNull("a reference to what holds it", at);
      }
      if (depth === maxDepth) return putNull("what is nested more than " + maxDepth + " deep", at);
      const prototype = attempt(() => getPrototypeOf(value));
      if (prototype !== objectPrototype && prototype !== null && putBuiltin(value, prototype, at, depth)) return;
      const toJson: unknown = attempt(() => get(value, "toJSON"));
      if (typeof toJson !== "function") return putParts(value, at, depth);
      const replaced: unknown = attempt(() => apply(toJson, value, ["" + (at.key ?? "")]));
      if (replaced === failed) return putNull("what toJSON failed for", at);
      // What toJSON gave is written as it is, also when it gave another object with a toJSON.
      if (typeof replaced !== "object" || replaced === null) return putValue(replaced, at, depth);
      putParts(replaced, { value: replaced, key: null, up: at }, depth);
    }

    function putParts(value: object, at: Step, depth: number): void {
      const isList = attempt(() => isArray(value));
      if (isList === true) return putElements(value, at, depth);
      const names = isList === failed ? failed : attempt(() => keys(value));
      if (names === failed) return putNull("what could not be read", at);
      let separator = "{";
      for (let index = 0; index < names.length; index += 1) {
        const key = names[index] ?? "";
        const item: unknown = attempt(() => get(value, key));
        const step = { value: item, key, up: at };
        if (key === "__proto__") note("a key __proto__ was left out", step);
        else if (item !== undefined) {
          put(separator);
          putText(key);
          put(":");
          putItem(item, step, depth);
          separator = ",";
        }
      }
      put(separator === "{" ? "{}" : "}");
    }

    function putElements(list: object, at: Step, depth: number): void {
      const length: unknown = attempt(() => get(list, "length"));
      if (typeof length !== "number") return putNull("what could not be read", at);
      put("[");
      for (let index = 0; index < length; index += 1) {
        if (index > 0) put(",");
        const item: unknown = attempt(() => get(list, index));
        putItem(item, { value: item, key: index, up: at }, depth);
      }
      put("]");
    }

    function putItem(item: unknown, at: Step, depth: number): void {
      if (item === failed) putNull("what could not be read", at);
      else putValue(item, at, depth + 1);
    }

    /** Writes an instance of a built-in that JSON does not know; false: it is none. */
    function putBuiltin(value: object, prototype: unknown, at: Step, depth: number): boolean {
      if (prototype === promisePrototype) {
        putNull("a promise that nothing awaited", at);
      } else if (isError(value)) {
        note("an Error became its name and message", at);
        const name: unknown = attempt(() => get(value, "name"));
        const message: unknown = attempt(() => get(value, "message"));
        putParts({ name, message }, at, depth);
      } else if (accepts(getTime, value)) {
        const text = attempt(() => apply(toISOString, value, []));
        if (text === failed) putNull("an invalid Date", at);
        else {
          note("a Date became text", at);
          putText(text);
        }
      } else if (accepts(mapSize, value)) {
        note("a Map became a list of pairs", at);
        putEach((add) => apply(mapForEach, value, [(item: unknown, key: unknown) => add([key, item])]), at, depth);
      } else if (accepts(setSize, value)) {
        note("a Set became a list", at);
        putEach((add) => apply(setForEach, value, [add]), at, depth);
      } else if (isView(value) && accepts(viewLength, value)) {
        note("a typed array became a list", at);
        putElements(value, at, depth);
      } else if (accepts(bufferLength, value)) {
        note("an ArrayBuffer became a list of bytes", at);
        putElements(construct(Bytes, [value]), at, depth);
      } else if (accepts(source, value)) {
        note("a RegExp became text", at);
        const text = apply(source, value, []);
        putText(typeof text === "string" ? "/" + text + "/" : "");
      } else return false;
      return true;
    }

    function putEach(walk: (add: (item: unknown) => void) => void, at: Step, depth: number): void {
      let index = 0;
      put("[");
      walk((item) => {
        if (index > 0) put(",");
        putItem(item, { value: item, key: index, up: at }, depth);
        index += 1;
      });
      put("]");
    }

    try {
      putValue(root, { value: root, key: null, up: null }, 0);
      flush();
      return { tooLarge: false, notes };
    } catch (thrown) {
      if (thrown !== tooLarge) throw thrown;
      return { tooLarge: true, notes };
    }
  };
}
