"""Does what a step asked for: one method per operation, each ending in a `Result`.

No choices are made here. Whatever goes wrong becomes a `Failure` in the words that people are shown; what the engine
said about itself is put into the watcher before the result is given, so that the next step sees it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import assert_never

import structlog

from mizzen.api import kinds
from mizzen.api.csivolumes import tokens_for
from mizzen.api.edit import edited
from mizzen.api.types import core_v1 as core
from mizzen.engine.values import Clock
from nodeagent.drive.addresses import Addresses
from nodeagent.drive.context import NodeContext
from nodeagent.drive.hooks import Hooks
from nodeagent.drive.images import Images
from nodeagent.drive.metrics import Metrics
from nodeagent.drive.observe import Watcher
from nodeagent.drive.tokens import Tokens
from nodeagent.lifecycle import actions as act
from nodeagent.lifecycle.containers import find, spec_hash
from nodeagent.lifecycle.credentials import credentials
from nodeagent.lifecycle.downward import ConfigError
from nodeagent.lifecycle.env import environment, files_of
from nodeagent.lifecycle.observation import Failure, Result
from nodeagent.lifecycle.specs import Made, container_spec, sandbox_spec, seccomp_profile
from nodeagent.network.ipam import AddressesExhausted
from nodeagent.network.port import Network, NetworkError, netns_of
from nodeagent.runtime import references
from nodeagent.runtime.errors import ContainerNotFound, ImageNotFound, RuntimeFailure, StartFailed
from nodeagent.runtime.port import Runtime
from nodeagent.runtime.values import ContainerSpec, ContainerState, Mount, RegistryAuth, Status
from nodeagent.volumes.port import VolumeFailure, Volumes

TERMINATION_LOG = "/dev/termination-log"
ENV_FILE_MAX_BYTES = 64 * 1024
LOOK_DEADLINE_S = 60.0
"""How long a stop waits to see with its own eyes that the container has ended."""

_LOG = structlog.get_logger(__name__)


@dataclass(slots=True)
class Slots:
    """How many operations of a kind may be under way."""

    starts: asyncio.Semaphore
    stops: asyncio.Semaphore


class Performer:
    """The hands of the agent."""

    def __init__(
        self,
        *,
        runtime: Runtime,
        network: Network,
        guard: Callable[[str], Awaitable[None]],
        volumes: Volumes,
        watcher: Watcher,
        images: Images,
        addresses: Addresses,
        hooks: Hooks,
        tokens: Tokens,
        node: NodeContext,
        clock: Clock,
        metrics: Metrics,
        slots: Slots,
    ) -> None:
        """`guard` returns when a pod's network policies hold, by uid; it may raise NetworkError."""
        self._runtime = runtime
        self._network = network
        self._guard = guard
        self._volumes = volumes
        self._watcher = watcher
        self._images = images
        self._addresses = addresses
        self._hooks = hooks
        self._tokens = tokens
        self._node = node
        self._clock = clock
        self._metrics = metrics
        self._slots = slots

    async def perform(self, pod: core.Pod, operation: act.AnyOperation, group: asyncio.TaskGroup) -> Result:
        """Do it. Only being cancelled raises."""
        try:
            return await self._perform(pod, operation, group)
        except (RuntimeFailure, VolumeFailure) as error:
            failure = Failure(error.reason, error.message)
        except ConfigError as error:
            failure = Failure(error.reason, error.message)
        except (NetworkError, AddressesExhausted) as error:
            failure = Failure("CreatePodSandboxError", f"failed to set up the pod's network: {error}")
        except Exception as error:
            # A mistake in here must not take the other pods down; it stays visible in this pod's events and the log.
            meta = pod.metadata
            _LOG.exception("operation_broken", pod=f"{meta.namespace}/{meta.name}", operation=str(operation))
            failure = Failure("InternalError", f"{type(error).__name__}: {error}")
        return Result(op=operation.op, failure=failure)

    async def _perform(self, pod: core.Pod, operation: act.AnyOperation, group: asyncio.TaskGroup) -> Result:
        match operation:
            case act.SetupVolumes() | act.TeardownVolumes():
                return await self._change_volumes(pod, operation, group)
            case act.CreateSandbox() | act.RemoveSandbox():
                return await self._change_sandbox(pod, operation)
            case act.InspectImage():
                info = await self._images.inspect(operation.image)
                return Result(op=operation.op, image_id=info.id if info is not None else "")
            case act.PullImage():
                return await self._pull(pod, operation, group)
            case act.CreateAndStart():
                return await self._create_and_start(pod, operation)
            case act.Resize():
                with self._metrics.operation("update_container"):
                    await self._runtime.update_container(operation.container_id, operation.limits)
                return Result(op=operation.op)
            case act.RunHook():
                failure = await self._hooks.run(pod, operation, self._ip_of(pod))
                return Result(op=operation.op, failure=failure)
            case act.Stop() | act.Kill() | act.RemoveContainer():
                return await self._end(pod, operation)
            case _:
                assert_never(operation)

    # ----------------------------------------------------------------------------------------- volumes and images

    async def _change_volumes(
        self, pod: core.Pod, operation: act.SetupVolumes | act.TeardownVolumes, group: asyncio.TaskGroup
    ) -> Result:
        if isinstance(operation, act.TeardownVolumes):
            await self._volumes.teardown(pod.metadata.uid)
            self._tokens.forget(pod.metadata.uid)
        elif pod.spec.volumes:
            tokens = await self._tokens.of(pod, tokens_for(self._node.drivers_of(pod)))
            sources = self._node.sources(pod, self._ip_of(pod))
            with_image = [(volume.name, volume.image) for volume in pod.spec.volumes if volume.image is not None]
            images = {name: await self._image_of(pod, source, group) for name, source in with_image}
            storage = replace(sources.storage, images=images)
            await self._volumes.setup(pod, replace(sources, tokens=tokens, storage=storage))
        return Result(op=operation.op)

    async def _image_of(self, pod: core.Pod, source: core.ImageVolumeSource, group: asyncio.TaskGroup) -> str:
        """The id of the image that a volume is made from, fetched as its policy says. Raises RuntimeFailure."""
        ref = source.reference
        info = await self._images.inspect(ref) if source.pull_policy != "Always" else None
        if info is None and source.pull_policy == "Never":
            raise ImageNotFound(f'Container image "{ref}" is not present with pull policy of Never')
        if info is None:
            info, _ = await self._images.pull(ref, self._auth(pod, ref), group)
        return info.id

    async def _pull(self, pod: core.Pod, operation: act.PullImage, group: asyncio.TaskGroup) -> Result:
        began_ms = self._clock.monotonic_ms()
        info, took_ms = await self._images.pull(operation.image, self._auth(pod, operation.image), group)
        waited_ms = self._clock.monotonic_ms() - began_ms
        return Result(
            op=operation.op, image_id=info.id, image_bytes=info.size_bytes, took_ms=took_ms, waited_ms=waited_ms
        )

    def _auth(self, pod: core.Pod, image: str) -> RegistryAuth | None:
        cache, namespace = self._node.objects.cache, pod.metadata.namespace
        found = (cache.get(kinds.SECRET, namespace, ref.name) for ref in pod.spec.image_pull_secrets)
        secrets = [secret for secret in found if secret is not None]
        return credentials(references.parse(image).registry, secrets) if secrets else None

    # ---------------------------------------------------------------------------------------------------- sandbox

    async def _change_sandbox(self, pod: core.Pod, operation: act.CreateSandbox | act.RemoveSandbox) -> Result:
        uid = pod.metadata.uid
        if isinstance(operation, act.RemoveSandbox):
            if operation.detach:
                await self._network.detach(uid)
                self._addresses.release(uid)
            with self._metrics.operation("remove_podsandbox"):
                await self._runtime.remove_sandbox(operation.sandbox_id)
            self._watcher.drop(uid, operation.sandbox_id)
            return Result(op=operation.op)
        async with self._slots.starts:
            with self._metrics.operation("run_podsandbox"):
                domain, handler = self._node.facts.cluster_domain, self._node.runtime_handler(pod)
                state = await self._runtime.create_sandbox(sandbox_spec(pod, operation.attempt, domain, handler))
            if pod.spec.host_network:
                self._watcher.put(state)
                return Result(op=operation.op)
            if not self._node.network_ready:
                raise NetworkError("the node's network is not ready: it has no pod CIDR yet")
            before = self._addresses.attachment(uid)
            if before is not None and before.sandbox_id != state.id:
                # The network of a dead sandbox: nothing may count it as this one's, not even for a moment.
                self._addresses.detached(uid)
                await self._network.detach(uid)
            self._watcher.put(state)
            ip = self._addresses.choose(uid, self._node.facts.pod_cidr)
            meta = pod.metadata
            await self._guard(uid)
            await self._network.attach(uid, meta.namespace, meta.name, netns_of(state.pid), ip)
        self._addresses.attached(uid, ip, state.id)
        return Result(op=operation.op, ip=ip)

    def _ip_of(self, pod: core.Pod) -> str:
        return self._node.ip if pod.spec.host_network else self._addresses.of(pod.metadata.uid)

    # -------------------------------------------------------------------------------------------------- container

    async def _create_and_start(self, pod: core.Pod, operation: act.CreateAndStart) -> Result:
        container = find(pod.spec, operation.container)
        if container is None:
            raise ConfigError(f"the pod has no container {operation.container}")
        spec = await self._spec(pod, container, operation)
        async with self._slots.starts:
            try:
                with self._metrics.operation("create_container"):
                    container_id = await self._runtime.create_container(spec)
            except ImageNotFound as error:
                self._images.forget(operation.image)
                return Result(op=operation.op, failure=Failure("ImageGone", error.message))
            try:
                with self._metrics.operation("start_container"):
                    await self._runtime.start_container(container_id)
            except (StartFailed, ContainerNotFound):
                await self._look()
                raise
        now = self._clock.now()
        state = ContainerState(
            id=container_id,
            pod=spec.pod,
            name=spec.name,
            attempt=spec.attempt,
            status=Status.RUNNING,
            sandbox_id=spec.sandbox_id,
            spec_hash=spec_hash(container),
            image=spec.image,
            image_id=operation.image,
            created_at_ms=now,
            started_at_ms=now,
            tty=spec.tty,
            stdin_once=spec.stdin_once,
        )
        self._watcher.put(state)
        return Result(op=operation.op, container_id=container_id)

    async def _spec(self, pod: core.Pod, container: core.Container, operation: act.CreateAndStart) -> ContainerSpec:
        container = edited(container, resources=operation.resources)
        files = await self._files(pod, container)
        env = environment(pod, container, replace(self._node.sources(pod, self._ip_of(pod)), files=files))
        made = Made(
            attempt=operation.attempt,
            sandbox_id=operation.sandbox_id,
            image=operation.image,
            image_user=self._images.user_of(operation.image),
            env=env,
            mounts=await self._mounts(pod, container, operation.attempt, env),
            devices=await self._volumes.devices(pod, container) if container.volume_devices else (),
            target_id=operation.target_id,
            handler=self._node.runtime_handler(pod),
            seccomp=self._seccomp(pod, container),
            pids_max=self._node.pids_max,
            memory_bytes=self._node.memory_bytes,
        )
        return container_spec(pod, container, made)

    async def _files(self, pod: core.Pod, container: core.Container) -> dict[tuple[str, str], str | None]:
        """What the files hold that variables are read from."""
        found: dict[tuple[str, str], str | None] = {}
        for volume, path in files_of(container):
            content = await self._volumes.read_inside(pod.metadata.uid, volume, path, ENV_FILE_MAX_BYTES)
            found[volume, path] = content.decode("utf-8", "replace") if content is not None else None
        return found

    def _seccomp(self, pod: core.Pod, container: core.Container) -> str:
        profile = seccomp_profile(pod, container)
        if profile is None or profile.type != "Localhost":
            return ""
        return self._node.seccomp_profile(profile.localhost_profile or "")

    async def _mounts(
        self, pod: core.Pod, container: core.Container, attempt: int, env: dict[str, str]
    ) -> tuple[Mount, ...]:
        """The volumes that the container mounts, and the agent's own files where it has not mounted its own."""
        mounts = await self._volumes.mounts(pod, container, env) if container.volume_mounts else ()
        taken = {mount.container_path for mount in mounts}
        uid, node = pod.metadata.uid, self._node
        files = {
            "/etc/hosts": ("hosts", node.hosts_file(pod, self._ip_of(pod))),
            "/etc/resolv.conf": ("resolv.conf", node.resolv_conf(pod)),
            container.termination_message_path or TERMINATION_LOG: (termination_file(container.name, attempt), ""),
        }
        own = []
        for target, (name, text) in files.items():
            if target not in taken:
                writable = name.startswith("termination")
                path = await self._volumes.write(uid, name, text.encode(), 0o666 if writable else 0o644)
                own.append(Mount(host_path=path, container_path=target))
        return (*mounts, *own)

    async def _end(self, pod: core.Pod, operation: act.Stop | act.Kill | act.RemoveContainer) -> Result:
        try:
            if isinstance(operation, act.RemoveContainer):
                with self._metrics.operation("remove_container"):
                    await self._runtime.remove_container(operation.container_id, force=True)
                self._watcher.drop(pod.metadata.uid, operation.container_id)
                return Result(op=operation.op)
            if isinstance(operation, act.Kill):
                with self._metrics.operation("kill_container"):
                    await self._runtime.kill_container(operation.container_id)
            else:
                async with self._slots.stops:
                    with self._metrics.operation("stop_container"):
                        await self._runtime.stop_container(operation.container_id, operation.grace_s)
        except ContainerNotFound:
            pass
        await self._look(operation.container_id)
        return Result(op=operation.op)

    async def _look(self, ended: str = "") -> None:
        try:
            async with asyncio.timeout(LOOK_DEADLINE_S):
                await self._watcher.refresh(ended)
        except TimeoutError:
            _LOG.warning("engine_not_seen", seconds=LOOK_DEADLINE_S)


def termination_file(container: str, attempt: int) -> str:
    """The pod's file in which an instance leaves its last words."""
    return f"termination-{container}-{attempt}"
