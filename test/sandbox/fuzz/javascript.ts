/** Pieces of programs in JavaScript, valid and not. */
export const tokens: readonly string[] = `
  { } ( ) [ ] ; , . ... ? : => = == === + ++ - ! ~ ** << >>> && || ?? ?. \` " ' / \\ # @ $ _ 0 1 -0 1e999 0x 1n 2n**64n NaN
  var let const function async await yield class extends super new this delete typeof void in of instanceof if else for while do
  switch case break continue return throw try catch finally with import export static get set null true undefined eval arguments
  globalThis Object Array Proxy Reflect Symbol Promise Map WeakRef FinalizationRegistry ArrayBuffer Uint8Array DataView Atomics
  JSON RegExp Error Function BigInt Date console files tools setTimeout queueMicrotask prototype __proto__ constructor length
  toJSON then valueOf Symbol.iterator Symbol.species x y z (?<= [^] \\u{ {1,99999} \\p{L}
`
  .trim()
  .split(/\s+/)
  .concat(" ", "\n", "\0", "\u2028", "\ud800", "/*", "*/", "//");

/**
 * A program that walks every object which it can reach and does `steps` things to them at random: calls and constructs whatever is a
 * function, reads, writes, deletes and redefines properties, swaps prototypes, and has its own functions called in the middle of that
 * by the natives. The same seed does the same. What it needs itself it takes before it begins to break things.
 */
export const toWalk = (seed: number, steps: number): string => `
const { apply, construct, ownKeys, getOwnPropertyDescriptor, getPrototypeOf, setPrototypeOf, defineProperty, deleteProperty, get, set, preventExtensions } = Reflect;
const { imul, floor } = Math;
let state = ${seed} | 1;
const random = (below) => {
  state ^= state << 13; state ^= state >>> 17; state ^= state << 5;
  return floor((state >>> 0) / 4294967296 * below);
};
const pool = [], known = new WeakSet();
const isKnown = WeakSet.prototype.has.bind(known), learn = WeakSet.prototype.add.bind(known);
const isThing = (value) => (typeof value === "object" && value !== null) || typeof value === "function";
const keep = (value) => {
  if (!isThing(value) || isKnown(value) || pool.length >= 5000) return;
  learn(value);
  defineProperty(pool, pool.length, { __proto__: null, value, writable: true, configurable: true });
};
keep(globalThis);
for (const root of [async function () {}, function* () {}, async function* () {}, [].values(), new Map().entries(), "".matchAll(/x/g), new Proxy({}, {}), (function () { return arguments })(), new Error("x"), files, tools, tools.any]) keep(root);
for (let at = 0; at < pool.length; at += 1) {
  try {
    keep(getPrototypeOf(pool[at]));
    const keys = ownKeys(pool[at]);
    for (let k = 0; k < keys.length && k < 200; k += 1) {
      const found = getOwnPropertyDescriptor(pool[at], keys[k]);
      keep(found.value); keep(found.get); keep(found.set);
    }
  } catch {}
}
const plain = [0, -0, 1, -1, 7, 255, 65536, 2 ** 31, -(2 ** 31), 2 ** 32, 2 ** 53, -(2 ** 53), 0.5, NaN, Infinity, -Infinity, 1e308, 5e-324,
  "", "x", "length", "__proto__", "constructor", "then", "toJSON", "0", "-1", "4294967295", "x".repeat(999), "\\ud800", "(a+)+$", "g", "[".repeat(99),
  0n, -1n, 2n ** 64n, 2n ** 999n, true, false, null, undefined, Symbol.iterator, Symbol.toPrimitive, Symbol.species, Symbol.hasInstance, Symbol.asyncIterator, Symbol("own")];
let depth = 0;
/** A function that the natives call back, and that does one more thing in the middle of theirs. */
const meddler = () => function (...given) {
  if (depth > 3) return plain[random(plain.length)];
  depth += 1;
  try { keep(this); for (let i = 0; i < given.length && i < 4; i += 1) keep(given[i]); step(); return value(); } finally { depth -= 1; }
};
const traps = ["get", "set", "has", "ownKeys", "getPrototypeOf", "deleteProperty", "defineProperty", "getOwnPropertyDescriptor", "apply", "construct"];
const made = [
  () => [], () => new ArrayBuffer(random(64), { maxByteLength: 4096 }), () => new Uint8Array(random(64)), () => new DataView(new ArrayBuffer(8)),
  () => ({ valueOf: meddler(), toString: meddler(), [Symbol.toPrimitive]: random(2) ? meddler() : undefined, then: random(9) ? undefined : meddler() }),
  () => ({ length: plain[random(plain.length)], 0: 1 }), () => ({ [Symbol.iterator]: meddler(), next: meddler(), toJSON: meddler() }),
  () => { const handler = {}; for (let i = 0; i < 3; i += 1) handler[traps[random(traps.length)]] = meddler(); return new Proxy(object(), handler); },
  () => meddler(), () => new Map([[1, 2]]), () => new Set([1]), () => Promise.resolve(1), () => /(?<n>a)|b*/gy, () => new Date(random(9e9)), () => new WeakRef(object()),
];
const object = () => pool[random(pool.length)];
const value = () => {
  const kind = random(8);
  if (kind < 3) return plain[random(plain.length)];
  if (kind < 6) return object();
  const found = made[random(made.length)]();
  keep(found);
  return found;
};
const values = () => { const list = []; for (let count = random(5); count > 0; count -= 1) defineProperty(list, list.length, { __proto__: null, value: value(), writable: true, configurable: true, enumerable: true }); return list; };
const key = (it) => { if (random(3) === 0) return plain[random(plain.length)]; const keys = ownKeys(it); return keys[random(keys.length)]; };
function step() {
  const it = object();
  try {
    switch (random(12)) {
      case 0: case 1: case 2: case 3: return keep(apply(it, value(), values()));
      case 4: return keep(construct(it, values()));
      case 5: return keep(get(it, key(it), value()));
      case 6: { const held = get(it, key(it)); return keep(apply(held, it, values())); }
      case 7: return keep(set(it, key(it), value()));
      case 8: return void (random(4) === 0 && deleteProperty(it, key(it)));
      case 9: return void defineProperty(it, key(it), random(2) ? { get: meddler(), set: meddler(), configurable: true } : { value: value(), writable: true, configurable: true });
      case 10: return void (random(4) === 0 && (random(3) ? setPrototypeOf(it, value()) : preventExtensions(it)));
      case 11: { let count = 0; for (const part of it) { keep(part); if ((count += 1) > 20) break; } }
    }
  } catch (error) { keep(error); }
}
for (let count = 0; count < ${steps}; count += 1) step();
value()`;
