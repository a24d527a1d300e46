import type { Json } from "../../../core/json.ts";
import { showText } from "../connection/text.ts";
import type { WireTool } from "../connection/connection.ts";
import type { PinnedServer, Pins } from "../pins/pins.ts";

/** How often it is looked whether what is blocked was approved meanwhile, in this process or another. */
const lookMs = 2_000;

/** What is approved of one server, as it is now: an approval takes effect while the server runs. */
export interface Approved extends Disposable {
  readonly now: () => PinnedServer;
  /** Takes in what the server lists, with the pins of that by name, and pins what is new. Throws `store.*`. */
  observe(tools: readonly WireTool[], byName: ReadonlyMap<string, string>): Promise<void>;
}

interface ApprovedServices {
  readonly server: string;
  /** How it is started or reached. */
  readonly launch: Json;
  readonly pins: Pins;
  readonly log: (line: string) => void;
  /** Called when something else is approved than before. */
  readonly onChange: () => void;
}

/** Opens what is known of a server without connecting to it. Throws `store.*`. */
export async function openApproved({ server, launch, pins, log, onChange }: ApprovedServices): Promise<Approved> {
  let approved = await pins.load(server, launch);
  /** The pins of what was listed last, by name. */
  let listed: ReadonlyMap<string, string> = new Map();
  let told = "";
  let looking: NodeJS.Timeout | undefined;
  let isOver = false;

  function take(now: PinnedServer): void {
    const isSame = toKey(now) === toKey(approved);
    approved = now;
    const what = blocked();
    if (what !== told && what !== "") {
      log(`${what} changed and waits for approval: capstan tools diff ${server}, then capstan tools approve ${server}`);
    }
    told = what;
    if (what === "" || isOver) stop();
    else looking ??= setInterval(look, lookMs).unref();
    if (!isSame) onChange();
  }

  function blocked(): string {
    if (approved.isLaunchBlocked) return "how it is started or reached";
    const known = new Set(approved.tools.map(({ pin }) => pin));
    const names = [...listed].flatMap(([name, pin]) => (known.has(pin) ? [] : [name]));
    return showText(names.join(", "));
  }

  function look(): void {
    pins
      .load(server, launch)
      .then((now) => void (isOver || take(now)))
      .catch((thrown: unknown) => void (isOver || log(`its pins can't be read: ${String(thrown)}`)));
  }

  function stop(): void {
    clearInterval(looking);
    looking = undefined;
  }

  take(approved);
  return {
    now: () => approved,
    async observe(tools, byName) {
      const now = await pins.observe(server, tools);
      listed = byName;
      // It was taken out of the config meanwhile: to look again would pin it anew.
      if (!now.isKnown) isOver = true;
      take(now);
    },
    [Symbol.dispose]() {
      isOver = true;
      stop();
    },
  };
}

const toKey = ({ isLaunchBlocked, tools }: PinnedServer): string =>
  `${isLaunchBlocked} ${tools.map(({ pin }) => pin).join()}`;
