import { openQuickjsEngine } from "../../src/sandbox/quickjs.ts";
import { describeEngine } from "./conformance.ts";
import { scriptSnippets } from "./snippets.ts";

describeEngine("quickjs", () => openQuickjsEngine(), scriptSnippets);
