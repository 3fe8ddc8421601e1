"""Bringing pods up: the order of things, init containers and sidecars, images, and what is said on the way."""

from __future__ import annotations

from collections.abc import Callable

from mizzen.api.types import core_v1 as core
from nodeagent.lifecycle import actions as act
from nodeagent.lifecycle.observation import Failure, Rejection, Verdict
from nodeagent.runtime.values import Status
from tests.unit.lifecycle.model import HOST_IP, IMAGE_ID, IP, Machine, container, instance, pod, sandbox


def fails(work: type[act.Operation], reason: str, message: str = "no") -> Callable[[act.Operation], Failure | None]:
    """A fault for every operation of one kind."""
    return lambda op: Failure(reason, message) if isinstance(op, work) else None


def test_a_pod_comes_up_in_order_and_says_so() -> None:
    machine = Machine(pod())
    assert machine.settle() == [
        "SetupVolumes", "CreateSandbox", "InspectImage", "!Pulled", "CreateAndStart:app", "!Created", "!Started",
    ]  # fmt: skip
    status = machine.status
    assert status is not None
    assert (status.phase, status.pod_ip, status.host_ip, status.qos_class) == ("Running", IP, HOST_IP, "BestEffort")
    assert status.observed_generation == 1
    assert [(c.type, c.status) for c in status.conditions] == [
        ("PodReadyToStartContainers", "True"),
        ("Initialized", "True"),
        ("Ready", "True"),
        ("ContainersReady", "True"),
        ("PodScheduled", "True"),
    ]
    app = machine.one()
    assert (app.ready, app.started, app.restart_count) == (True, True, 0)
    assert (app.container_id, app.image_id) == ("docker://app-0", f"docker://{IMAGE_ID}")
    assert app.state.running is not None
    assert machine.records("Pulled") == [
        'Container image "shop:1" already present on machine and can be accessed by the pod'
    ]
    assert machine.records("Created") == ["Container created"]
    assert machine.records("Started") == ["Container started"]


def test_a_pod_without_volumes_does_not_wait_for_any() -> None:
    asked = Machine(pod(volumes=())).settle()
    assert "SetupVolumes" not in asked
    assert asked[0] == "CreateSandbox"


def test_a_step_more_changes_nothing() -> None:
    machine = Machine(pod())
    machine.settle()
    before = machine.memory
    assert machine.once() == ()
    assert machine.memory == before


def test_before_its_start_a_container_is_being_created() -> None:
    machine = Machine(pod(), held=lambda _: True)
    machine.settle()
    assert machine.one().state.waiting == core.ContainerStateWaiting(reason="ContainerCreating")
    assert machine.status is not None
    assert machine.status.phase == "Pending"
    ready = machine.condition("Ready")
    assert (ready.status, ready.reason, ready.message) == (
        "False",
        "ContainersNotReady",
        "containers with unready status: [app]",
    )


def test_containers_start_one_after_another() -> None:
    machine = Machine(pod(container("a"), container("b")))
    asked = [name for name in machine.settle() if name.startswith("CreateAndStart")]
    assert asked == ["CreateAndStart:a", "CreateAndStart:b"]
    assert machine.status is not None
    assert machine.status.phase == "Running"


def test_the_hosts_network_needs_no_address() -> None:
    machine = Machine(pod(host_network=True))
    machine.attached = False
    machine._do = _unattached(machine)  # type: ignore[method-assign]
    machine.settle()
    assert machine.status is not None
    assert machine.status.pod_ip == HOST_IP
    assert machine.condition("PodReadyToStartContainers").status == "True"


def _unattached(machine: Machine) -> object:
    do = machine._do

    def obey(operation: act.Operation) -> object:
        result = do(operation)
        machine.attached = False
        return result

    return obey


def test_init_containers_run_one_by_one_to_their_end() -> None:
    machine = Machine(pod(init_containers=(container("one"), container("two"))))
    machine.settle()
    assert [c.name for c in machine.containers] == ["one"]
    assert machine.one("one").state.running is not None
    assert machine.one("app").state.waiting == core.ContainerStateWaiting(reason="PodInitializing")
    assert machine.condition("Initialized").message == "containers with incomplete status: [one two]"
    machine.exit("one", 0)
    machine.settle()
    assert [c.name for c in machine.containers] == ["one", "two"]
    machine.exit("two", 0)
    machine.settle()
    assert [c.name for c in machine.containers] == ["one", "two", "app"]
    assert machine.condition("Initialized").status == "True"
    assert machine.one("one").ready
    assert machine.status is not None
    assert machine.status.phase == "Running"


def test_a_failing_init_container_is_repeated_with_backoff() -> None:
    machine = Machine(pod(init_containers=(container("one"),)))
    machine.settle()
    machine.exit("one", 1)
    machine.settle()
    assert machine.one("one").restart_count == 1
    machine.exit("one", 1)
    machine.settle()
    assert machine.one("one").state.waiting is not None
    assert machine.one("one").state.waiting.reason == "CrashLoopBackOff"
    assert machine.status is not None
    assert machine.status.phase == "Pending"


def test_an_init_container_that_fails_for_good_fails_the_pod() -> None:
    machine = Machine(pod(init_containers=(container("one"),), restart_policy="Never"))
    machine.settle()
    machine.exit("one", 3)
    asked = machine.settle()
    assert "CreateAndStart:app" not in asked
    assert machine.status is not None
    assert machine.status.phase == "Failed"
    assert machine.one("app").state.waiting is not None
    assert machine.sandboxes == []


def test_a_sidecar_starts_first_and_stays() -> None:
    side = container("side", restart_policy="Always")
    machine = Machine(pod(init_containers=(side, container("one"))))
    machine.settle()
    assert [c.name for c in machine.containers] == ["side", "one"]
    machine.exit("one", 0)
    machine.settle()
    assert [c.name for c in machine.containers] == ["side", "one", "app"]
    assert machine.condition("Ready").status == "True"
    machine.exit("side", 0)
    machine.settle()
    assert machine.one("side").restart_count == 1
    assert machine.status is not None
    assert machine.status.phase == "Running"


def test_a_sidecar_holds_the_others_up_until_its_startup_probe_passes() -> None:
    side = container("side", restart_policy="Always", startup_probe=core.Probe())
    machine = Machine(pod(init_containers=(side,)))
    machine.settle()
    assert [c.name for c in machine.containers] == ["side"]
    machine.probes["side-0", "startup"] = Verdict(True)
    machine.settle()
    assert [c.name for c in machine.containers] == ["side", "app"]


# ------------------------------------------------------------------------------------------------------ images


def test_a_missing_image_is_pulled() -> None:
    machine = Machine(pod(), images={}, registry={"shop:1": "sha256:b"})
    asked = machine.settle()
    assert asked.index("!Pulling") < asked.index("PullImage") < asked.index("CreateAndStart:app")
    assert machine.records("Pulling") == ['Pulling image "shop:1"']
    assert machine.records("Pulled") == [
        'Successfully pulled image "shop:1" in 1.5s (1.5s including waiting). Image size: 1234 bytes.'
    ]


def test_always_pulls_without_looking() -> None:
    machine = Machine(pod(container(image_pull_policy="Always")), registry={"shop:1": "sha256:b"})
    asked = machine.settle()
    assert "InspectImage" not in asked
    assert "PullImage" in asked


def test_never_does_not_pull() -> None:
    machine = Machine(pod(container(image_pull_policy="Never")), images={})
    asked = machine.settle()
    assert "PullImage" not in asked
    waiting = machine.one().state.waiting
    assert waiting == core.ContainerStateWaiting(
        reason="ErrImageNeverPull", message='Container image "shop:1" is not present with pull policy of Never'
    )
    machine.images["shop:1"] = IMAGE_ID
    machine.after(11_000)
    assert machine.one().ready


def test_a_failed_pull_is_shown_then_waited_for_then_repeated() -> None:
    machine = Machine(pod(), images={})
    machine.settle()
    assert machine.one().state.waiting == core.ContainerStateWaiting(
        reason="ErrImagePull", message="manifest for shop:1 not found"
    )
    assert machine.records("Failed") == [
        'Failed to pull image "shop:1": manifest for shop:1 not found',
        "Error: ErrImagePull",
    ]
    machine.after(6_000)
    assert machine.one().state.waiting == core.ContainerStateWaiting(
        reason="ImagePullBackOff",
        message='Back-off pulling image "shop:1": ErrImagePull: manifest for shop:1 not found',
    )
    assert machine.records("BackOff") == ['Back-off pulling image "shop:1"']
    assert "PullImage" in machine.after(5_000)
    assert machine.of_pull() == 20_000
    machine.registry["shop:1"] = "sha256:b"
    machine.after(21_000)
    assert machine.one().ready


def test_a_cause_that_says_it_all_is_not_said_twice() -> None:
    text = 'Failed to pull image "shop:1": no such host'
    machine = Machine(pod(), images={}, fault=fails(act.PullImage, "RegistryUnavailable", text))
    machine.settle()
    assert machine.records("Failed") == [text, "Error: RegistryUnavailable"]
    assert machine.one().state.waiting == core.ContainerStateWaiting(
        reason="RegistryUnavailable",
        message="image pull failed for shop:1 because the registry is unavailable: no such host",
    )


def test_a_new_image_in_the_spec_is_tried_at_once() -> None:
    machine = Machine(pod(), images={})
    machine.settle()
    machine.after(6_000)
    machine.spec = pod(container(image="shop:2"))
    machine.images["shop:2"] = "sha256:c"
    machine.settle()
    assert machine.one().ready
    assert machine.one().image == "shop:2"


def test_an_invalid_image_name_says_so() -> None:
    machine = Machine(pod(container(image="Shop:1")), fault=fails(act.InspectImage, "InvalidImageName"))
    machine.settle()
    waiting = machine.one().state.waiting
    assert waiting is not None
    assert waiting.reason == "InvalidImageName"
    assert waiting.message == (
        'Failed to apply default image tag "Shop:1": couldn\'t parse image name "Shop:1": invalid reference format'
    )
    assert machine.records("InspectFailed") == [waiting.message]
    assert machine.after(30_000) == []


def test_an_image_that_vanished_in_between_is_looked_for_again() -> None:
    machine = Machine(pod(), fault=fails(act.CreateAndStart, "ImageGone"))
    machine.settle()
    machine.images, machine.registry, machine.fault = {}, {"shop:1": "sha256:b"}, lambda _: None
    asked = machine.after(2_000)
    assert "PullImage" in asked
    assert machine.one().ready


# ---------------------------------------------------------------------------------------------------- failures


def test_a_config_problem_waits_for_the_object_it_needs() -> None:
    problem = Failure("CreateContainerConfigError", 'configmap "conf" not found')
    machine = Machine(pod(), fault=lambda op: problem if isinstance(op, act.CreateAndStart) else None)
    machine.settle()
    assert machine.one().state.waiting == core.ContainerStateWaiting(
        reason="CreateContainerConfigError", message='configmap "conf" not found'
    )
    assert machine.records("Failed") == ['Error: configmap "conf" not found']
    assert machine.settle() == []
    reports = [action for action in machine.log if isinstance(action, act.Report)]
    machine.after(25_000)
    assert [a for a in machine.log if isinstance(a, act.Report)] == reports, "trying again in vain is no news"
    machine.fault = lambda _: None
    machine.objects = 7
    assert "CreateAndStart:app" in machine.settle()
    assert machine.one().ready


def test_a_command_that_can_not_run_uses_its_attempt_up() -> None:
    machine = Machine(pod())

    def refuse(operation: act.Operation) -> Failure | None:
        if not isinstance(operation, act.CreateAndStart):
            return None
        died = {"exit_code": 127, "error": "exec: nope: not found", "finished_at_ms": machine.now}
        machine.containers.append(instance("app", operation.attempt, Status.EXITED, **died))
        return Failure("ContainerCannotRun", "exec: nope: not found")

    machine.fault = refuse
    machine.settle()
    app = machine.one()
    assert app.state.waiting == core.ContainerStateWaiting(reason="RunContainerError", message="exec: nope: not found")
    assert app.last_state.terminated is not None
    assert (app.last_state.terminated.reason, app.last_state.terminated.exit_code) == ("ContainerCannotRun", 127)
    machine.after(11_000)
    assert machine.one().restart_count == 1
    machine.after(20_000)
    assert machine.one().state.waiting is not None
    assert machine.one().state.waiting.reason == "CrashLoopBackOff"


def test_an_engine_that_is_away_is_no_event() -> None:
    machine = Machine(pod(), fault=fails(act.CreateAndStart, "RuntimeUnavailable"))
    machine.settle()
    assert machine.records("Failed") == []
    machine.fault = lambda _: None
    machine.after(3_000)
    assert machine.one().ready


def test_a_sandbox_that_can_not_be_made_is_retried_with_a_growing_delay() -> None:
    machine = Machine(pod(), fault=fails(act.CreateSandbox, "CreatePodSandboxError", "no memory"))
    machine.settle()
    machine.after(8_000)
    tries = [a for a in machine.log if isinstance(a, act.CreateSandbox)]
    assert len(tries) == 4
    assert machine.records("FailedCreatePodSandBox")[0] == "Failed to create pod sandbox: no memory"


def test_volumes_that_can_not_be_made_hold_the_pod_up() -> None:
    text = 'MountVolume.SetUp failed for volume "conf" : configmap "conf" not found'
    machine = Machine(pod(), fault=fails(act.SetupVolumes, "FailedMount", text))
    machine.settle()
    machine.after(3_000)
    assert machine.sandboxes == []
    assert machine.records("FailedMount")[0] == text
    machine.fault = lambda _: None
    machine.objects = 3
    machine.settle()
    assert machine.one().ready


def test_changed_objects_refresh_the_volumes_of_a_running_pod() -> None:
    machine = Machine(pod())
    machine.settle()
    machine.objects = 9
    assert machine.settle() == ["SetupVolumes"]
    assert machine.settle() == []


def test_a_rejected_pod_fails_without_being_touched() -> None:
    machine = Machine(pod(), rejection=Rejection("OutOfcpu", "Node didn't have enough resource: cpu"))
    assert machine.settle() == ["!OutOfcpu"]
    assert machine.status is not None
    assert (machine.status.phase, machine.status.reason) == ("Failed", "OutOfcpu")
    assert machine.status.message == "Pod was rejected: Node didn't have enough resource: cpu"
    assert machine.settle() == ["TeardownVolumes"]
    assert machine.settle() == []


def test_a_pod_that_runs_is_not_rejected_any_more() -> None:
    machine = Machine(pod(), rejection=Rejection("OutOfcpu", "no"), sandboxes=[sandbox()], attached=True)
    machine.settle()
    assert machine.one().ready


# ------------------------------------------------------------------------------------------------------- hooks


def post_start() -> core.Container:
    """A container with a `postStart`."""
    return container(lifecycle=core.Lifecycle(post_start=core.LifecycleHandler(exec=core.ExecAction(command=("x",)))))


def test_post_start_comes_before_ready_and_before_the_next_container() -> None:
    machine = Machine(pod(post_start(), container("b")), held=lambda op: isinstance(op, act.RunHook))
    machine.settle()
    assert [c.name for c in machine.containers] == ["app"]
    assert not machine.one().ready
    machine.held = lambda _: False
    machine.obey()
    machine.settle()
    assert [c.name for c in machine.containers] == ["app", "b"]
    assert machine.one().ready


def test_a_failed_post_start_ends_the_container() -> None:
    machine = Machine(pod(post_start()), fault=fails(act.RunHook, "Error", "exit 1"))
    asked = machine.settle()
    assert "Stop:app" in asked
    assert machine.records("FailedPostStartHook")[0] == "PostStartHook failed"
    assert machine.records("Killing")[0] == "FailedPostStartHook"
