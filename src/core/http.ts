/**
 * What `node:http` exports. An `import` of it loads also what `fetch` and WebSocket are made of, which it names among its exports: a tenth
 * of the processor time in which a command starts. So what every command loads takes it from here.
 */
export const http = process.getBuiltinModule("node:http");
