import type { Clock } from "../core/clock.ts";
import { CapstanError } from "../core/error.ts";
import { openHourly } from "../core/hourly.ts";
import { newId } from "../core/id.ts";
import type { Scope } from "../core/scope.ts";
import type { Taint } from "../core/taint.ts";
import { mergeTaint } from "../core/taint.ts";
import { lineageOf } from "../permissions/lineage.ts";
import type { ExecRequest, ExecResult, Language, Sandbox } from "../sandbox/engine.ts";
import type { Store } from "../store/store.ts";
import { type Live, openHouse, type Place, type SessionLimits } from "./session/house.ts";
import { bytesOf, filesAfter, isConflict, openSessionRecords, toKnown, toSessionKey } from "./session/records.ts";
import type { KnownFiles, SavedSession, SessionOwner, SessionRecord } from "./session/records.ts";

/** A call that wants a session: its name, and how to open a sandbox for it where there is none, with a way to the network or without. */
export interface Visit extends SessionOwner {
  readonly name: string;
  readonly isNetworked: boolean;
  readonly language: Language;
  readonly open: () => Promise<Sandbox>;
}

/** A session that a call has for itself, for one run, until it is disposed of. */
export interface Seat extends AsyncDisposable {
  /** Where what is in the session came from: code that runs in it sees that. */
  readonly taint: Taint;
  /** Runs code, and puts on record what it leaves. `taint` is asked after the run: all that came in by then stays with the session. */
  run(request: ExecRequest, taint: () => Taint, signal: AbortSignal): Promise<SessionRun>;
}

/** A run in a session. Its artifacts are the files that it made or changed. */
export interface SessionRun {
  readonly result: ExecResult;
  readonly session: SessionState;
}

/** Whether a run found no variables of earlier ones, whether its own are lost, and what is to be said about that. */
export interface SessionState {
  readonly isNew: boolean;
  readonly isOver: boolean;
  readonly note?: string;
}

/** A session as its owner sees it. Its variables are `here`, in another process of Capstan (`elsewhere`), or `gone`, and only its files are left. */
export interface SessionInfo extends Pick<SavedSession, "id" | "name" | "language" | "files" | "bytes" | "taint"> {
  readonly variables: "here" | "elsewhere" | "gone";
  readonly why?: string;
  readonly usedAt: number;
}

/**
 * Sandboxes that live on between calls. A session belongs to the grant that began it: under another one, its name is another session. Its
 * variables are in this process, within the limits of house.ts. Its files are put on record after each run, and outlive the process.
 */
export interface Sessions extends AsyncDisposable {
  /**
   * Waits for a session and opens it where it has no sandbox. Throws `session.busy` where others have it for too long, `session.too_many`
   * where none of those that are open can make room, and `sandbox.bad_request` for a session of another language, or for a network where it
   * began without one.
   */
  enter(visit: Visit, signal: AbortSignal): Promise<Seat>;
  /** Those that the grant sees, by their names. */
  list(owner: SessionOwner): Promise<readonly SessionInfo[]>;
  /** Ends a session and removes its files: the grant's own of this name, or one that `list` shows, by its id. null: there is none. */
  end(owner: SessionOwner, nameOrId: string): Promise<SessionInfo | null>;
  /** Removes sessions that nobody used for too long, whoever's they are. The first call of an hour does it too. */
  sweep(scope: Scope): Promise<void>;
}

export interface SessionsOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly limits: SessionLimits & {
    /** Of all input files that one session is given. */
    readonly inputBytes: number;
    /** Sessions of one user that are on record, and for how long after they were used last. */
    readonly kept: number;
    readonly keptMs: number;
  };
}

/** Opens the sessions of a process. Disposing ends their variables; their files stay. */
export function openSessions({ store, clock, limits }: SessionsOptions): Sessions {
  const holder = newId("process");
  const records = openSessionRecords({ store, clock, count: limits.kept, lifetimeMs: limits.keptMs });
  const house = openHouse({ limits, clock, onGone });
  const sweeps = openHourly(clock, (scope) => records.sweep(scope));

  /** Puts on record why the variables are gone, for who asks for them next. */
  async function onGone({ owner, record }: Live, why: string): Promise<void> {
    try {
      await records.write(owner, { ...record, saved: { ...record.saved, gone: why } });
    } catch (thrown) {
      // Another process has it or has ended it: then there is nothing to tell.
      if (!isConflict(thrown)) throw thrown;
    }
  }

  /** As `begin`. Nobody ends the session before it is known what there is to end. */
  async function beginAt(place: Place, visit: Visit) {
    const begun = begin(place, visit);
    place.beginning = begun.catch(() => {});
    try {
      return await begun;
    } finally {
      place.beginning = undefined;
    }
  }

  /** What goes on at a place, or a new one. `note` says why there are no variables where there were some. */
  async function begin(place: Place, visit: Visit): Promise<{ live: Live; isNew: boolean; note?: string }> {
    await place.closing;
    let found = await records.read(visit, visit.name);
    let why: string | undefined;
    const { live } = place;
    if (live !== undefined) {
      const isOurs = found?.version === live.record.version;
      why = house.whyOver(live) ?? (isOurs ? undefined : "another process of Capstan used it or ended it");
      if (why === undefined) return { live: demandFits(live, visit), isNew: false };
      await house.end(place, why);
      found = await records.read(visit, visit.name);
    }
    if (found === null) await makeRoomOnRecord(place, visit);
    await house.makeRoom(place);
    try {
      place.live = await open(visit, found);
    } finally {
      place.isOpening = false;
    }
    const isKnown = found !== null || why !== undefined;
    return { live: place.live, isNew: true, ...(isKnown ? { note: whyNew(found?.saved, why) } : {}) };
  }

  /** One stays as long as anybody wants it: it may just be opened again from what is on record. */
  function makeRoomOnRecord({ key: ownKey, user }: Place, visit: Visit): Promise<void> {
    const isWanted = (key: string): boolean => {
      const placeKey = toPlaceKey(visit, key);
      return placeKey !== ownKey && house.at(placeKey) !== undefined;
    };
    return records.makeRoom(visit, isWanted, (key, work) =>
      house.end(house.place(toPlaceKey(visit, key), user), "there were too many sessions", work),
    );
  }

  async function open(visit: Visit, found: SessionRecord | null): Promise<Live> {
    const { language, isNetworked, name, scope, principal, grant } = visit;
    const key = toSessionKey(visit, name);
    await using opening = new AsyncDisposableStack();
    const sandbox = opening.use(await visit.open());
    const restored = found === null ? [] : await records.files(visit, found.saved.id);
    const now = clock();
    const { gone: _, ...before } = found?.saved ?? {
      id: newId("session"),
      name,
      taint: [],
      grantIds: lineageOf(grant),
      files: 0,
      bytes: 0,
    };
    const saved: SavedSession = { ...before, language, holder, usedAt: now };
    const version = await records
      .write(visit, { key, saved, version: found?.version ?? 0 })
      .catch((thrown: unknown) => {
        if (!isConflict(thrown)) throw thrown;
        throw new CapstanError(
          "session.busy",
          "Another process of Capstan has just begun this session, or ended it. Call again.",
        );
      });
    opening.move();
    return {
      // Not the whole visit: what a call brought ends with it.
      owner: { scope, principal, grant },
      language,
      isNetworked,
      sandbox,
      beganAt: now,
      usedAt: now,
      memoryBytes: 0,
      record: { key, saved, version },
      files: toKnown(restored),
      inputs: new Map(),
      restored,
    };
  }

  async function run(place: Place, live: Live, request: ExecRequest, taint: () => Taint, signal: AbortSignal) {
    signal.throwIfAborted(); // A call that was cancelled before it began harms nothing.
    if (live.over !== undefined)
      throw new CapstanError("session.busy", `This session is gone: ${live.over}. Call again.`);
    demandRoom(live, request);
    const { isOver, ...ended } = await live.sandbox.run({ ...request, outFiles: live.restored }, signal);
    live.restored = [];
    live.usedAt = clock();
    live.memoryBytes = ended.usage.memoryBytes;
    const before = live.files;
    const after = filesAfter(ended, before, request.limits);
    const changed = ended.artifacts.filter(({ path }) => after.get(path)?.hash !== before.get(path)?.hash);
    if (isOver === true) live.over ??= `its last call ended as ${ended.status}`;
    const lost = live.over ?? (await keep(live, ended, after, taint()));
    if (lost !== undefined) await house.end(place, lost);
    return { result: { ...ended, artifacts: changed }, lost };
  }

  /** Puts the files of a session that goes on on record. Answers why it does not go on after all. */
  async function keep(live: Live, { artifacts }: ExecResult, after: KnownFiles, seen: Taint) {
    const { record, owner, usedAt, files: before } = live;
    const taint = [...mergeTaint(record.saved.taint, seen)];
    // It is in the session now, also where it can't be put on record.
    live.record = { ...record, saved: { ...record.saved, taint } };
    const saved = { ...record.saved, taint, usedAt, files: after.size, bytes: bytesOf(after) };
    try {
      const version = await records.write(owner, { ...record, saved }, { files: artifacts, before, after });
      live.record = { ...record, saved, version };
      live.files = after;
      return live.over;
    } catch (thrown) {
      if (isConflict(thrown))
        return (
          live.over ?? "another process of Capstan used it at the same time, so it did not keep the files of this call"
        );
      throw thrown;
    }
  }

  function demandRoom(live: Live, { files }: ExecRequest): void {
    const inputs = new Map([...live.inputs, ...files.map(({ path, bytes }) => [path, bytes.length] as const)]);
    const bytes = [...inputs.values()].reduce((sum, size) => sum + size, 0);
    if (bytes <= limits.inputBytes) {
      live.inputs = inputs;
      return;
    }
    throw new CapstanError(
      "sandbox.bad_request",
      `This session was given ${bytes} bytes of files, more than the ${limits.inputBytes} that one takes. Begin another one.`,
    );
  }

  function toInfo(owner: SessionOwner, { key, saved }: SessionRecord): SessionInfo {
    const { id, name, language, files, bytes, taint, usedAt, gone } = saved;
    const isElsewhere = gone === undefined && saved.holder !== holder && usedAt + limits.idleMs > clock();
    const isHere = house.at(toPlaceKey(owner, key))?.live !== undefined;
    const variables = isHere ? "here" : isElsewhere ? "elsewhere" : "gone";
    const why = variables === "gone" && gone !== undefined ? { why: gone } : {};
    return { id, name, language, files, bytes, taint, usedAt, variables, ...why };
  }

  return {
    async enter(visit, signal) {
      await house.sweep();
      await sweeps.due(visit.scope);
      const key = toPlaceKey(visit, toSessionKey(visit, visit.name));
      const seat = await house.take(key, userOf(visit), signal);
      try {
        const { live, isNew, note } = await beginAt(seat.place, visit);
        return {
          taint: live.record.saved.taint,
          async run(request, taint, stop) {
            const { result, lost } = await run(seat.place, live, request, taint, stop);
            const notes = [note, lost === undefined ? undefined : `The variables of this session are lost: ${lost}.`];
            const text = notes.filter((one) => one !== undefined).join(" ");
            const session = { isNew, isOver: lost !== undefined };
            return { result, session: { ...session, ...(text === "" ? {} : { note: text }) } };
          },
          async [Symbol.asyncDispose]() {
            // As long as it is taken it is not among those that make room.
            await house.trim(seat.place).finally(() => seat.leave());
          },
        };
      } catch (thrown) {
        seat.leave();
        throw thrown;
      }
    },

    async list(owner) {
      await house.sweep();
      const found = (await records.list(owner)).map((session) => toInfo(owner, session));
      return found.sort((a, b) => (a.name < b.name ? -1 : 1));
    },

    async end(owner, nameOrId) {
      const ownKey = toSessionKey(owner, nameOrId);
      for (;;) {
        const sessions = await records.list(owner);
        const found = sessions.find(({ key }) => key === ownKey) ?? sessions.find(({ saved }) => saved.id === nameOrId);
        if (found === undefined) return null;
        const place = house.place(toPlaceKey(owner, found.key), userOf(owner));
        if (place.beginning === undefined) {
          const info = toInfo(owner, found);
          await house.end(place, "it was ended", () => records.remove(owner, found));
          return info;
        }
        await place.beginning;
      }
    },

    sweep: (scope) => sweeps.now(scope),

    [Symbol.asyncDispose]: () => house[Symbol.asyncDispose](),
  };
}

const userOf = ({ principal: { org, user } }: SessionOwner): string => `${org}/${user}`;

/** Two scopes share nothing, nor do their sessions of one name. */
const toPlaceKey = ({ scope: { org, project } }: SessionOwner, key: string): string => `${org}/${project}/${key}`;

/** TypeScript is JavaScript with its types left out, so they share sessions. */
const familyOf = (language: Language): Language => (language === "typescript" ? "javascript" : language);

function demandFits(live: Live, { language, isNetworked, name }: Visit): Live {
  const isSpoken = familyOf(live.language) === familyOf(language);
  if (isSpoken && (live.isNetworked || !isNetworked)) return live;
  const why = isSpoken ? "began without a network, and has none" : `speaks ${live.language}, not ${language}`;
  throw new CapstanError(
    "sandbox.bad_request",
    `The session ${name} ${why}. Use another name, or end it with session_end.`,
  );
}

function whyNew(saved: SavedSession | undefined, ended: string | undefined): string {
  const why = saved?.gone ?? ended ?? "they were in a process of Capstan that has ended or is another";
  const files = saved?.files ?? 0;
  const left = files === 0 ? "It has no files." : `Its ${files === 1 ? "file is" : `${files} files are`} there.`;
  return `The variables of earlier calls are gone: ${why}. ${left}`;
}
