/** The kinds of questions that the servers of the bridge's tests ask, and what they ask: params that both SDKs take. */
export const kinds = ["form", "url", "sampling", "roots"] as const;
export type Kind = (typeof kinds)[number];

export const form = {
  mode: "form" as const,
  message: "Which size?",
  requestedSchema: {
    type: "object" as const,
    properties: { size: { type: "integer" as const } },
    required: ["size"],
  },
};

export const url = { mode: "url" as const, message: "Sign in.", url: "https://sign.in/here", elicitationId: "e1" };

export const sampling = {
  messages: [{ role: "user" as const, content: { type: "text" as const, text: "Say hi." } }],
  maxTokens: 5,
};
