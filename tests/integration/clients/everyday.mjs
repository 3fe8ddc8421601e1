// What a program does with the cluster whose kubeconfig is named; prints what it found as JSON.
import {
  ApiextensionsV1Api, AppsV1Api, CoreV1Api, CustomObjectsApi, Exec, KubeConfig, KubernetesObjectApi, Log, PatchStrategy,
  Watch, loadAllYaml, makeInformer, setHeaderOptions,
} from "@kubernetes/client-node";
import { Writable } from "node:stream";

const config = new KubeConfig();
config.loadFromFile(process.argv[2]);
const core = config.makeApiClient(CoreV1Api);
const apps = config.makeApiClient(AppsV1Api);
const objects = KubernetesObjectApi.makeApiClient(config);
const namespace = "javascript";
const found = {};

const as = (type) => setHeaderOptions("Content-Type", type);
const failure = async (call) => call.then(() => { throw new Error("it should fail"); }, (error) => error);
const map = (name, data, labels) => ({ apiVersion: "v1", kind: "ConfigMap", metadata: { name, namespace, labels }, data });

function text() {
  const stream = new Writable({ write(chunk, _, next) { stream.said += chunk; stream.emit("said"); next(); } });
  stream.said = "";
  return stream;
}

async function until(holds, what) {
  const last = Date.now() + 20_000;
  for (;;) {
    const answer = await holds();
    if (answer) return answer;
    if (Date.now() > last) throw new Error(`never: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function writes() {
  const labels = { app: "shop" };
  const template = { metadata: { labels }, spec: { containers: [{ name: "web", image: "web:1" }] } };
  const body = { metadata: { name: "shop" }, spec: { replicas: 1, selector: { matchLabels: labels }, template } };
  const made = await apps.createNamespacedDeployment({ namespace, body });
  found.defaulted = made.spec.strategy.type;
  const wrong = { ...body, spec: { ...body.spec, replicas: -1 } };
  const refused = await failure(apps.createNamespacedDeployment({ namespace, body: wrong }));
  found.refused = [refused.code, JSON.parse(refused.body).message];
  found.missing = (await failure(core.readNamespacedPod({ namespace, name: "nobody" }))).code;
  await apps.patchNamespacedDeployment({ namespace, name: "shop", body: { metadata: { labels: { a: "b" } } } }, as(PatchStrategy.StrategicMergePatch));
  found.conflict = (await failure(apps.replaceNamespacedDeployment({ namespace, name: "shop", body: made }))).code;
  await core.createNamespacedConfigMap({ namespace, body: map("merged", { a: "1", z: "0" }) });
  const merged = await core.patchNamespacedConfigMap({ namespace, name: "merged", body: { data: { b: "2", z: null } } }, as(PatchStrategy.MergePatch));
  found.merged = merged.data;
  const steps = [{ op: "replace", path: "/spec/replicas", value: 2 }];
  found.jsonPatched = (await apps.patchNamespacedDeployment({ namespace, name: "shop", body: steps }, as(PatchStrategy.JsonPatch))).spec.replicas;
  const applied = await objects.patch(map("applied", { colour: "red" }), undefined, undefined, "javascript", true, PatchStrategy.ServerSideApply);
  found.applied = applied.data;
  found.owner = [applied.metadata.managedFields[0].manager, applied.metadata.managedFields[0].operation];
}

async function watches() {
  const path = `/api/v1/namespaces/${namespace}/configmaps`;
  const start = (await core.listNamespacedConfigMap({ namespace })).metadata.resourceVersion;
  const seen = [];
  const going = await new Watch(config).watch(
    path, { resourceVersion: start, labelSelector: "watched" }, (type, object) => seen.push(`${type} ${object.metadata.name}`), () => {},
  );
  await core.createNamespacedConfigMap({ namespace, body: map("c", {}, { watched: "yes" }) });
  await core.patchNamespacedConfigMap({ namespace, name: "c", body: { data: { a: "b" } } }, as(PatchStrategy.MergePatch));
  await core.deleteNamespacedConfigMap({ namespace, name: "c" });
  await until(() => seen.length >= 3, "three events");
  going.abort();
  found.watched = seen;
}

async function informs() {
  const labelSelector = "informed";
  const list = () => core.listNamespacedConfigMap({ namespace, labelSelector });
  const informer = makeInformer(config, `/api/v1/namespaces/${namespace}/configmaps`, list, labelSelector);
  const told = [];
  for (const verb of ["add", "update", "delete"]) informer.on(verb, (object) => told.push(`${verb} ${object.metadata.name}`));
  informer.on("error", () => {});
  await informer.start();
  await core.createNamespacedConfigMap({ namespace, body: map("i", {}, { informed: "yes" }) });
  await until(() => told.length === 1, "the informer tells of the new one");
  await core.patchNamespacedConfigMap({ namespace, name: "i", body: { data: { a: "b" } } }, as(PatchStrategy.MergePatch));
  await until(() => told.length === 2, "and of its change");
  await core.deleteNamespacedConfigMap({ namespace, name: "i" });
  await until(() => told.length === 3, "and of its end");
  await informer.stop();
  found.informed = told;
}

async function containers() {
  const command = ["sh", "-c", "echo hello; sleep 1000000"];
  const spec = { terminationGracePeriodSeconds: 1, containers: [{ name: "main", image: "web:1", command }] };
  await core.createNamespacedPod({ namespace, body: { metadata: { name: "talker" }, spec } });
  await until(async () => (await core.readNamespacedPod({ namespace, name: "talker" })).status.phase === "Running", "the pod runs");
  const log = text();
  const following = await new Log(config).log(namespace, "talker", "main", log, { follow: true });
  await until(() => log.said.length > 0, "the log");
  following.abort();
  found.log = log.said;
  const said = text();
  const status = await new Promise((resolve, reject) => {
    new Exec(config).exec(namespace, "talker", "main", ["echo", "from", "inside"], said, text(), null, false, resolve).catch(reject);
  });
  if (status.status !== "Success") throw new Error(JSON.stringify(status));
  found.said = said.said;
}

async function customs() {
  const schema = { openAPIV3Schema: { type: "object", properties: { spec: { type: "object", properties: { size: { type: "integer" } } } } } };
  const group = "javascript.example.com";
  const names = { plural: "widgets", kind: "Widget" };
  const versions = [{ name: "v1", served: true, storage: true, schema }];
  const definitions = config.makeApiClient(ApiextensionsV1Api);
  const name = `widgets.${group}`;
  await definitions.createCustomResourceDefinition({ body: { metadata: { name }, spec: { group, names, scope: "Namespaced", versions } } });
  const established = (one) => one.status?.conditions?.some((c) => c.type === "Established" && c.status === "True");
  await until(async () => established(await definitions.readCustomResourceDefinition({ name })), "widgets are served");
  const widget = { apiVersion: `${group}/v1`, kind: "Widget", metadata: { name: "w", namespace }, spec: { size: 3 } };
  const custom = config.makeApiClient(CustomObjectsApi);
  await custom.createNamespacedCustomObject({ group, version: "v1", namespace, plural: "widgets", body: widget });
  found.custom = (await custom.getNamespacedCustomObject({ group, version: "v1", namespace, plural: "widgets", name: "w" })).spec;
  found.kinds = [(await objects.read(map("applied"))).kind, (await objects.read(widget)).kind];
  await definitions.deleteCustomResourceDefinition({ name });
}

async function lists() {
  const names = ["p1", "p2", "p3"];
  for (const name of names) await core.createNamespacedConfigMap({ namespace, body: map(name, {}, { page: "yes" }) });
  let pages = 0;
  let _continue;
  do {
    const page = await core.listNamespacedConfigMap({ namespace, labelSelector: "page", limit: 1, _continue });
    pages += 1;
    _continue = page.metadata._continue;
  } while (_continue);
  found.pages = pages;
  const both = ["y1", "y2"].map((name) => `apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ${name}, namespace: ${namespace}}\n`);
  const made = await Promise.all(loadAllYaml(both.join("---\n")).map((one) => objects.create(one)));
  found.yaml = made.map((one) => one.metadata.name);
}

await core.createNamespace({ body: { metadata: { name: namespace } } });
await writes();
await watches();
await informs();
await containers();
await customs();
await lists();
await core.deleteNamespace({ name: namespace });
process.stdout.write(JSON.stringify(found), () => process.exit(0));
