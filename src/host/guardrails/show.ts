import type { AnswerPart } from "../../core/event.ts";
import { openRedactor } from "../../core/redact.ts";
import type { Run } from "../../core/run.ts";
import type { RunSignal } from "../world.ts";
import type { Judged } from "./judge.ts";
import { isJudgedWhole } from "./judge.ts";

type Delta = RunSignal & { readonly type: "text.delta" | "reasoning.delta" };

/** Shows one answer of a model while it comes in. */
export interface Show {
  /** Shows of a piece what may be shown by now. */
  push(delta: Delta): void;
  /** What came so far is void, and another answer begins. */
  restart(): void;
  /** Shows what has waited for the whole answer, unless a rule holds it back. */
  end(judged: Pick<Judged, "parts" | "hits">): void;
}

/**
 * What a person sees of an answer as it comes: never what looks like a secret; and where a rule or a schema must see the whole of it
 * first, nothing before that.
 */
export function openShow(run: Pick<Run, "guardrails" | "answerSchema">, onSignal: (signal: RunSignal) => void): Show {
  const waits = isJudgedWhole(run);
  const open = () => ({ "text.delta": openRedactor(), "reasoning.delta": openRedactor() });
  let redactors = open();

  const show = (type: Delta["type"], text: string): void => {
    if (text !== "") onSignal({ type, text });
  };
  return {
    push({ type, text }) {
      if (!waits) show(type, redactors[type].push(text));
    },
    restart() {
      redactors = open();
    },
    end({ parts, hits }) {
      if (hits.some(({ action, code }) => action === "asked_again" || code !== undefined)) return;
      if (waits) for (const part of parts) showPart(part, show);
      else for (const type of ["reasoning.delta", "text.delta"] as const) show(type, redactors[type].end());
    },
  };
}

function showPart(part: AnswerPart, show: (type: Delta["type"], text: string) => void): void {
  if (part.type === "text" || part.type === "reasoning") show(`${part.type}.delta`, part.text);
}
