/** Whether a text that comes in pieces may be one JSON object by now, as its braces say. Each piece is read once. */
export interface ObjectEnd {
  push(piece: string): void;
  /** The first brace is closed, and nothing but space follows. */
  isReached(): boolean;
}

export function openObjectEnd(): ObjectEnd {
  let depth = 0;
  let isText = false;
  let isEscaped = false;
  let state: "before" | "within" | "after" | "none" = "before";

  function read(char: string): void {
    if (isEscaped) isEscaped = false;
    else if (isText) {
      if (char === "\\") isEscaped = true;
      else if (char === '"') isText = false;
    } else if (char === '"') isText = true;
    else if (char === "{") depth += 1;
    else if (char === "}") depth -= 1;
    if (depth === 0) state = "after";
  }

  return {
    push(piece) {
      for (let place = 0; place < piece.length && state !== "none"; place += 1) {
        const char = piece.charAt(place);
        if (state === "within") read(char);
        else if (char === "{" && state === "before") {
          state = "within";
          depth = 1;
        } else if (!/\s/.test(char)) state = "none";
      }
    },
    isReached: () => state === "after",
  };
}
