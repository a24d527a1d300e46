import { Socket } from "node:net";
import { text } from "node:stream/consumers";
import { http } from "../../core/http.ts";
import { maxSilenceMs } from "./daemon.ts";

/**
 * Attaches to the standard streams of a container: the connection itself, on which the daemon goes on to speak raw bytes. The package that
 * speaks to daemons sends a body along, which podman, rightly, gives to the container as its input. Rejects where the daemon refuses.
 */
export function attach(socketPath: string, container: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const asking = http.request({
      socketPath,
      agent: false,
      method: "POST",
      path: `/containers/${container}/attach?stream=1&stdin=1&stdout=1&stderr=1`,
      headers: { Connection: "Upgrade", Upgrade: "tcp", "Content-Length": "0" },
    });
    asking.on("error", reject);
    asking.setTimeout(maxSilenceMs, () => asking.destroy(new Error("The daemon gave no answer.")));
    asking.on("upgrade", (_response, socket, head) => {
      if (!(socket instanceof Socket)) return reject(new Error("The daemon handed no connection over."));
      socket.setTimeout(0);
      if (head.length > 0) socket.unshift(head);
      resolve(socket);
    });
    asking.on("response", (response) => {
      text(response).then((said) => reject(new Error(`(HTTP code ${response.statusCode}) ${said}`)), reject);
    });
    asking.end();
  });
}
