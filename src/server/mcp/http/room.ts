import type { Grant } from "../../../permissions/grant.ts";

/** How many sessions and subscriptions one user, and all together, may have at a time. */
const most = { each: 1_000, all: 20_000 } as const;

/** Who a grant acts for, as a key. */
export const ownerOf = ({ principal, scope }: Grant): string =>
  JSON.stringify([principal.org, principal.user, scope.org, scope.project]);

/** The room for what stays open: no user takes that of all others. */
export interface Room {
  /** Takes a place; null where there is none left, for this user or at all. */
  enter(owner: string): (() => void) | null;
}

/** Opens the room, with nobody in it. */
export function openRoom(): Room {
  const counts = new Map<string, number>();
  let all = 0;
  return {
    enter(owner) {
      const own = counts.get(owner) ?? 0;
      if (own >= most.each || all >= most.all) return null;
      counts.set(owner, own + 1);
      all += 1;
      return () => {
        const left = (counts.get(owner) ?? 1) - 1;
        if (left === 0) counts.delete(owner);
        else counts.set(owner, left);
        all -= 1;
      };
    },
  };
}

/** What a request is told that finds no room (503). */
export const noRoom = {
  code: -32_600,
  message: `A user has at most ${most.each} sessions and subscriptions open, all together at most ${most.all}. Close some, or try again later.`,
};
