// What a program does with fabric8's kubernetes-client; prints what it found as JSON.
//
//     java -cp 'JARS/*' Everyday.java KUBECONFIG

import com.fasterxml.jackson.databind.ObjectMapper;
import io.fabric8.kubernetes.api.model.ConfigMap;
import io.fabric8.kubernetes.api.model.ConfigMapBuilder;
import io.fabric8.kubernetes.api.model.HasMetadata;
import io.fabric8.kubernetes.api.model.ListOptionsBuilder;
import io.fabric8.kubernetes.api.model.NamespaceBuilder;
import io.fabric8.kubernetes.api.model.Namespaced;
import io.fabric8.kubernetes.api.model.PodBuilder;
import io.fabric8.kubernetes.api.model.apiextensions.v1.CustomResourceDefinition;
import io.fabric8.kubernetes.api.model.apps.Deployment;
import io.fabric8.kubernetes.api.model.apps.DeploymentBuilder;
import io.fabric8.kubernetes.client.Config;
import io.fabric8.kubernetes.client.CustomResource;
import io.fabric8.kubernetes.client.KubernetesClient;
import io.fabric8.kubernetes.client.KubernetesClientBuilder;
import io.fabric8.kubernetes.client.KubernetesClientException;
import io.fabric8.kubernetes.client.Watcher;
import io.fabric8.kubernetes.client.WatcherException;
import io.fabric8.kubernetes.client.dsl.ExecListener;
import io.fabric8.kubernetes.client.dsl.base.PatchContext;
import io.fabric8.kubernetes.client.dsl.base.PatchType;
import io.fabric8.kubernetes.client.extended.leaderelection.LeaderCallbacks;
import io.fabric8.kubernetes.client.extended.leaderelection.LeaderElectionConfigBuilder;
import io.fabric8.kubernetes.client.extended.leaderelection.resourcelock.LeaseLock;
import io.fabric8.kubernetes.client.informers.ResourceEventHandler;
import io.fabric8.kubernetes.model.annotation.Group;
import io.fabric8.kubernetes.model.annotation.Version;
import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.InputStreamReader;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

public class Everyday {
  static final String SPACE = "java";
  static final String GROUP = "java.example.com";
  static final long WAIT_S = 30;
  static final Map<String, Object> found = new TreeMap<>();

  public static class WheelSpec {
    public int size;
  }

  public static class WheelStatus {
    public int turned;
  }

  @Group(GROUP)
  @Version("v1")
  public static class Wheel extends CustomResource<WheelSpec, WheelStatus> implements Namespaced {}

  interface Call {
    void run() throws Exception;
  }

  static int codeOf(Call call) throws Exception {
    try {
      call.run();
    } catch (KubernetesClientException error) {
      return error.getCode();
    }
    throw new AssertionError("it should fail");
  }

  static <T> T next(BlockingQueue<T> queue) throws Exception {
    T given = queue.poll(WAIT_S, TimeUnit.SECONDS);
    if (given == null) throw new AssertionError("nothing came");
    return given;
  }

  static Deployment shop(int replicas) {
    Map<String, String> labels = Map.of("app", "shop");
    return new DeploymentBuilder()
        .withNewMetadata().withName("shop").withNamespace(SPACE).endMetadata()
        .withNewSpec().withReplicas(replicas).withNewSelector().withMatchLabels(labels).endSelector()
        .withNewTemplate().withNewMetadata().withLabels(labels).endMetadata()
        .withNewSpec().addNewContainer().withName("web").withImage("web:1").endContainer().endSpec()
        .endTemplate().endSpec().build();
  }

  static ConfigMapBuilder map(String name) {
    return new ConfigMapBuilder()
        .withNewMetadata().withName(name).withNamespace(SPACE).addToLabels("seen", "1").endMetadata();
  }

  static void writes(KubernetesClient client) throws Exception {
    Deployment made = client.resource(shop(1)).create();
    found.put("defaulted", made.getSpec().getStrategy().getType());
    var shop = client.apps().deployments().inNamespace(SPACE).withName("shop");
    shop.waitUntilReady(WAIT_S, TimeUnit.SECONDS);
    shop.scale(2);
    found.put("scaled", shop.waitUntilCondition(
        one -> Integer.valueOf(2).equals(one.getStatus().getReadyReplicas()), WAIT_S, TimeUnit.SECONDS).getSpec().getReplicas());
    shop.edit(one -> new DeploymentBuilder(one).editMetadata().addToLabels("a", "b").endMetadata().build());
    shop.patch(PatchContext.of(PatchType.STRATEGIC_MERGE), "{\"metadata\":{\"annotations\":{\"note\":\"c\"}}}");
    Deployment patched = shop.patch(
        PatchContext.of(PatchType.JSON), "[{\"op\":\"replace\",\"path\":\"/spec/revisionHistoryLimit\",\"value\":3}]");
    found.put("patched", List.of(
        patched.getMetadata().getLabels().get("a"), patched.getMetadata().getAnnotations().get("note"),
        patched.getSpec().getRevisionHistoryLimit()));
    found.put("conflict", codeOf(() -> client.resource(made).update()));
    found.put("missing", client.pods().inNamespace(SPACE).withName("nobody").get() == null);
    Deployment wrong = new DeploymentBuilder(shop(-1)).editMetadata().withName("wrong").endMetadata().build();
    found.put("refused", codeOf(() -> client.resource(wrong).create()));
    found.put("rolled", shop.rolling().updateImage("web:2").getSpec().getTemplate().getSpec().getContainers().get(0).getImage());
    shop.withGracePeriod(0).delete();
    shop.waitUntilCondition(one -> one == null, WAIT_S, TimeUnit.SECONDS);
  }

  static void applies(KubernetesClient client) throws Exception {
    ConfigMap applied = client.resource(map("applied").addToData("colour", "red").build()).fieldManager("java").serverSideApply();
    var owner = applied.getMetadata().getManagedFields().get(0);
    found.put("owner", List.of(owner.getManager(), owner.getOperation()));
    ConfigMap other = map("applied").addToData("colour", "blue").build();
    found.put("apart", codeOf(() -> client.resource(other).fieldManager("other").serverSideApply()));
    found.put("forced", client.resource(other).fieldManager("other").forceConflicts().serverSideApply().getData());
    found.put("dry", client.resource(map("dry").build()).dryRun().create().getMetadata().getName());
    client.resource(applied).delete();
  }

  static void watches(KubernetesClient client) throws Exception {
    var seen = client.configMaps().inNamespace(SPACE).withLabel("seen", "1");
    BlockingQueue<String> told = new LinkedBlockingQueue<>();
    BlockingQueue<String> informed = new LinkedBlockingQueue<>();
    Watcher<ConfigMap> watcher = new Watcher<>() {
      public void eventReceived(Action action, ConfigMap one) { told.add(action + " " + one.getMetadata().getName()); }
      public void onClose(WatcherException cause) {}
    };
    ResourceEventHandler<ConfigMap> handler = new ResourceEventHandler<>() {
      public void onAdd(ConfigMap one) { informed.add("add " + one.getMetadata().getName()); }
      public void onUpdate(ConfigMap old, ConfigMap one) { informed.add("update " + one.getMetadata().getName()); }
      public void onDelete(ConfigMap one, boolean unknown) { informed.add("delete " + one.getMetadata().getName()); }
    };
    try (var watching = seen.watch(watcher); var informer = seen.inform(handler)) {
      client.resource(map("w").build()).create();
      List<String> first = List.of(next(told), next(informed));
      client.configMaps().inNamespace(SPACE).withName("w").patch("{\"data\":{\"a\":\"b\"}}");
      List<String> second = List.of(next(told), next(informed));
      client.configMaps().inNamespace(SPACE).withName("w").delete();
      found.put("watched", List.of(first, second, List.of(next(told), next(informed))));
    }
    for (String name : List.of("p1", "p2", "p3")) client.resource(map(name).build()).create();
    int pages = 0;
    String token = null;
    do {
      var page = seen.list(new ListOptionsBuilder().withLimit(1L).withContinue(token).build());
      pages += page.getItems().size();
      token = page.getMetadata().getContinue();
    } while (token != null && !token.isEmpty());
    found.put("pages", pages);
    seen.delete();
    found.put("left", seen.list().getItems().size());
  }

  static void containers(KubernetesClient client) throws Exception {
    client.resource(new PodBuilder()
        .withNewMetadata().withName("talker").withNamespace(SPACE).endMetadata()
        .withNewSpec().withHostNetwork(true).withTerminationGracePeriodSeconds(1L)
        .addNewContainer().withName("main").withImage("web:1").withCommand("sh", "-c", "echo hello; sleep 1000000").endContainer()
        .endSpec().build()).create();
    var talker = client.pods().inNamespace(SPACE).withName("talker");
    talker.waitUntilReady(WAIT_S, TimeUnit.SECONDS);
    try (var log = talker.watchLog()) {
      found.put("log", new BufferedReader(new InputStreamReader(log.getOutput())).readLine());
    }
    var said = new ByteArrayOutputStream();
    try (var exec = talker.writingOutput(said).exec("echo", "from", "inside")) {
      found.put("exit", exec.exitCode().get(WAIT_S, TimeUnit.SECONDS));
    }
    found.put("said", said.toString(StandardCharsets.UTF_8));
    try (var exec = talker.writingOutput(said).exec("sh", "-c", "exit 3")) {
      found.put("failed", exec.exitCode().get(WAIT_S, TimeUnit.SECONDS));
    }
    try (var server = new ServerSocket(0, 1, InetAddress.getLoopbackAddress());
        var forward = talker.portForward(server.getLocalPort());
        var near = new Socket(InetAddress.getLoopbackAddress(), forward.getLocalPort())) {
      near.setSoTimeout((int) WAIT_S * 1000);
      near.getOutputStream().write("through the pod\n".getBytes());
      near.getOutputStream().flush();
      server.setSoTimeout((int) WAIT_S * 1000);
      try (var far = server.accept()) {
        far.setSoTimeout((int) WAIT_S * 1000);
        found.put("forwarded", new BufferedReader(new InputStreamReader(far.getInputStream())).readLine());
      }
    }
    talker.delete();
  }

  static void customs(KubernetesClient client) throws Exception {
    String text = """
        apiVersion: apiextensions.k8s.io/v1
        kind: CustomResourceDefinition
        metadata: {name: wheels.%s}
        spec:
          group: %s
          names: {plural: wheels, kind: Wheel}
          scope: Namespaced
          versions:
          - name: v1
            served: true
            storage: true
            subresources: {status: {}}
            schema:
              openAPIV3Schema:
                type: object
                properties:
                  spec: {type: object, properties: {size: {type: integer, minimum: 1}}}
                  status: {type: object, properties: {turned: {type: integer}}}
        """.formatted(GROUP, GROUP);
    var definition = (CustomResourceDefinition) client.load(new java.io.ByteArrayInputStream(text.getBytes())).create().get(0);
    client.resource(definition).waitUntilCondition(
        one -> one.getStatus() != null && one.getStatus().getConditions().stream().anyMatch(
            condition -> condition.getType().equals("Established") && condition.getStatus().equals("True")),
        WAIT_S, TimeUnit.SECONDS);
    Wheel wheel = new Wheel();
    wheel.getMetadata().setName("w");
    wheel.getMetadata().setNamespace(SPACE);
    wheel.setSpec(new WheelSpec());
    wheel.getSpec().size = 3;
    Wheel made = client.resource(wheel).create();
    made.setStatus(new WheelStatus());
    made.getStatus().turned = 7;
    Wheel told = client.resource(made).updateStatus();
    found.put("custom", List.of(told.getSpec().size, told.getStatus().turned));
    found.put("generic", client.genericKubernetesResources(GROUP + "/v1", "Wheel").inNamespace(SPACE).list().getItems().size());
    wheel.getMetadata().setName("x");
    wheel.getSpec().size = 0;
    found.put("wrong", codeOf(() -> client.resource(wheel).create()));
    client.resource(definition).delete();
  }

  static void elects(KubernetesClient client) throws Exception {
    BlockingQueue<String> led = new LinkedBlockingQueue<>();
    List<CompletableFuture<?>> running = new ArrayList<>();
    List<String> leaders = new ArrayList<>();
    for (String name : List.of("first", "second")) {
      running.add(client.leaderElector().withConfig(new LeaderElectionConfigBuilder()
          .withName(name).withLeaseDuration(Duration.ofSeconds(4)).withRenewDeadline(Duration.ofSeconds(3))
          .withRetryPeriod(Duration.ofMillis(500)).withReleaseOnCancel(true)
          .withLock(new LeaseLock(SPACE, "leader", name))
          .withLeaderCallbacks(new LeaderCallbacks(() -> led.add(name), () -> {}, who -> {}))
          .build()).build().start());
      if (leaders.isEmpty()) leaders.add(next(led));
    }
    running.get(0).cancel(true);
    leaders.add(next(led));
    running.get(1).cancel(true);
    found.put("led", leaders);
  }

  public static void main(String[] args) throws Exception {
    Config config = Config.fromKubeconfig(new File(args[0]));
    try (KubernetesClient client = new KubernetesClientBuilder().withConfig(config).build()) {
      client.resource(new NamespaceBuilder().withNewMetadata().withName(SPACE).endMetadata().build()).create();
      found.put("version", client.getKubernetesVersion().getMinor());
      writes(client);
      applies(client);
      watches(client);
      containers(client);
      customs(client);
      elects(client);
      found.put("groups", client.hasApiGroup("apps", true));
      client.namespaces().withName(SPACE).delete();
    }
    System.out.println(new ObjectMapper().writeValueAsString(found));
    System.exit(0);
  }
}
