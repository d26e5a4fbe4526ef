// A member of a thor network in JavaScript, under a role of its own.
//
//   npm install @nats-io/transport-node@3.4.0
//   node member.mjs tls://192.0.2.1:4222 n9 fax_server 192.0.2.9 node.crt node.key ca.crt
//
// With --plain it announces the required fields only: it is then shown as plain
// and noticed by its silence, not by the end of its connection.
import { connect } from "@nats-io/transport-node";
import { randomBytes } from "node:crypto";

const [servers, node, role, address, certFile, keyFile, caFile, plain] = process.argv.slice(2);
const boot = randomBytes(12).toString("hex");

const nc = await connect({
  servers: servers.split(","),
  tls: { certFile, keyFile, caFile, handshakeFirst: true },
  name: plain ? undefined : boot, // ties the connection's end to this instance
  inboxPrefix: `_INBOX.${node}`,
  ignoreClusterUpdates: true,
  maxReconnectAttempts: -1,
});

let seq = 0;
const announce = (state) => {
  const a = { v: 1, node, role, addresses: [address], state };
  if (!plain) Object.assign(a, { boot, seq: ++seq });
  nc.publish(`thor.role.${role}.${node}`, JSON.stringify(a));
};
announce("up");
setInterval(() => announce("up"), 1000);

process.on("SIGTERM", async () => {
  announce("leave");
  await nc.drain();
  process.exit(0);
});
// A clean close without a leave, for those who want to see what happens then.
process.on("SIGINT", async () => {
  await nc.close();
  process.exit(0);
});
console.log("joined");
